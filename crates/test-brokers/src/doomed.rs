//! A worker that is killed: the test's program once more, as a process of its own.
//!
//! ```ignore
//! /// No test but a process of one.
//! #[tokio::test]
//! async fn the_worker_that_is_killed() {
//!     let Some(broker) = doomed::told() else { return };
//!     /* a worker there, whose handlers say `doomed::HANDLING` and never end */
//! }
//!
//! let doomed = Doomed::start("the_worker_that_is_killed", broker);
//! doomed.kill_while_handling().await;
//! ```

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

/// What it prints when a handler runs.
pub const HANDLING: &str = "a handler runs";

const TOLD: &str = "STATIC_BUS_TEST_DOOMED";

/// What a process was told by [`Doomed::start`]; nothing if it is not one that is started so.
pub fn told() -> Option<String> {
    std::env::var(TOLD).ok()
}

/// Killed when it is dropped.
pub struct Doomed(Child);

impl Doomed {
    /// Runs this one test in a process of its own, which is [`told`] where to work.
    pub fn start(test: &str, told: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(TOLD, told)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Doomed(child)
    }

    /// Waits until a handler runs, and ends it with SIGKILL.
    pub async fn kill_while_handling(self) {
        self.kill_when(|line| line.contains(HANDLING)).await;
    }

    /// Waits for a line of its output, and ends it with SIGKILL. Gives all that it has printed.
    pub async fn kill_when(mut self, is_it: impl Fn(&str) -> bool + Send + 'static) -> Vec<String> {
        let kill = move || {
            let output = BufReader::new(self.0.stdout.take().unwrap());
            let mut lines = output.lines().map_while(Result::ok);
            let mut printed = Vec::new();
            loop {
                let line = lines.next();
                let line = line.unwrap_or_else(|| panic!("it ended, after {printed:?}"));
                let is_it = is_it(&line);
                printed.push(line);
                if is_it {
                    break;
                }
            }
            self.0.kill().unwrap();
            printed.extend(lines);
            let status = self.0.wait().unwrap();
            assert_eq!(status.signal(), Some(9), "{status}");
            printed
        };
        tokio::task::spawn_blocking(kill).await.unwrap()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
