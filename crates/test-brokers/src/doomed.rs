//! A worker that is killed: one test of the test program, in a process of its own.
//!
//! ```ignore
//! /// The process of a test.
//! #[tokio::test]
//! async fn the_worker_that_is_killed() {
//!     let Some(broker) = doomed::told() else { return };
//!     /* a worker, whose handlers print `doomed::HANDLING` and never end */
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

/// The line that the process prints when a handler runs.
pub const HANDLING: &str = "a handler runs";

const TOLD: &str = "STATIC_BUS_TEST_DOOMED";

/// The text that [`Doomed::start`] has passed to this process; `None` in any other process.
pub fn told() -> Option<String> {
    std::env::var(TOLD).ok()
}

/// A process that is killed when this is dropped.
pub struct Doomed(Child);

impl Doomed {
    /// Runs one test in a process of its own, and passes it a text, usually the address of a broker.
    pub fn start(test: &str, told: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        Self::run(Command::new(program), test, told)
    }

    /// The same in a process that cannot write beyond this number of kilobytes in a file: its disk is full.
    pub fn with_small_files(test: &str, told: &str, kilobytes: usize) -> Self {
        // The unit of `ulimit -f` is 512 bytes.
        let script = format!(
            r#"trap '' XFSZ; ulimit -f {}; exec "$0" "$@""#,
            2 * kilobytes
        );
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg(std::env::current_exe().unwrap());
        Self::run(command, test, told)
    }

    fn run(mut command: Command, test: &str, told: &str) -> Self {
        let child = command
            .args(["--exact", test, "--nocapture"])
            .env(TOLD, told)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Doomed(child)
    }

    /// Waits until a handler runs, and kills the process.
    pub async fn kill_while_handling(self) {
        self.kill_when(|line| line.contains(HANDLING)).await;
    }

    /// Waits for a line of the output, and kills the process. Returns all lines of the output.
    pub async fn kill_when(mut self, is_it: impl Fn(&str) -> bool + Send + 'static) -> Vec<String> {
        let kill = move || {
            let output = BufReader::new(self.0.stdout.take().unwrap());
            let mut lines = output.lines().map_while(Result::ok);
            let mut printed = Vec::new();
            loop {
                let line = lines.next();
                let line = line.unwrap_or_else(|| panic!("the process ended, after {printed:?}"));
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
