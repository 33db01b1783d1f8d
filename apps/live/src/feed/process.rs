//! A feed in a process of its own, started from this program.

use std::{
    env,
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
};

/// The process. It is killed when this is dropped.
pub struct Process(Child);

impl Process {
    /// Starts a feed, and returns it with its address.
    pub fn start(speed_up: f64) -> Result<(Self, String), String> {
        let program = env::current_exe().map_err(cannot_be_started)?;
        let mut command = Command::new(program);
        command
            .args(["feed", "--port", "0", "--speed-up", &speed_up.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // Ctrl-C on the terminal is for this process alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(cannot_be_started)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut process = Self(child);
        let mut address = String::new();
        BufReader::new(stdout)
            .read_line(&mut address)
            .map_err(cannot_be_started)?;
        if address.is_empty() {
            return Err(format!(
                "the feed's process ended before it listened ({}); its error is above",
                process.end().map_err(cannot_be_started)?
            ));
        }
        Ok((process, address.trim_end().to_owned()))
    }

    /// Ends the process, unless it has ended already. Returns the way in which it ended.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that cannot be ended ends at its next tick, which nobody reads.
        let _ = self.end();
    }
}

fn cannot_be_started(failure: io::Error) -> String {
    format!(
        "the feed's process cannot be started ({failure}); start `live feed` yourself, and name its address with --feed"
    )
}
