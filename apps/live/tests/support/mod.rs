//! The program, its processes and its logs.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
};

/// The program.
pub fn live() -> Command {
    Command::new(env!("CARGO_BIN_EXE_live"))
}

/// Twenty years in less than a second.
pub const FAST: [&str; 2] = ["--speed-up", "1e9"];
/// Twenty years in more than a minute: a run that something else ends.
pub const SLOW: [&str; 2] = ["--speed-up", "1e7"];

/// The path of a log. Files of an earlier test run are removed.
pub fn log(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target directory can be written");
    folder.join("run.log")
}

/// The files of a log.
pub fn segments(log: &Path) -> Vec<PathBuf> {
    let folder = log.parent().expect("a log is in a folder");
    let files = fs::read_dir(folder).expect("the folder exists");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

/// The text of stdout, of a command that succeeds.
#[track_caller]
pub fn result(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    text(output, Some(0)).0
}

/// The texts of stdout and stderr, of a command that ends with this exit code.
#[track_caller]
pub fn text(output: Output, code: Option<i32>) -> (String, String) {
    let [stdout, stderr] = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).expect("the output is UTF-8"));
    assert_eq!(output.status.code(), code, "{stdout}\n{stderr}");
    (stdout, stderr)
}

/// Exit code 2, nothing on stdout, and a last line on stderr that is this error.
#[track_caller]
pub fn assert_refused(command: &mut Command, error: &str) {
    let output = command.output().expect("the program starts");
    let (stdout, stderr) = text(output, Some(2));
    assert_eq!(stdout, "");
    assert_eq!(
        stderr.lines().last(),
        Some(format!("error: {error}").as_str())
    );
}

pub fn replay(log: &Path) -> Command {
    let mut command = live();
    command.arg("replay").arg(log);
    command
}

/// A process with its output; killed when dropped.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the program starts"))
    }

    pub fn stdout(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().expect("stdout is piped")).lines()
    }

    pub fn stderr(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.0.stderr.take().expect("stderr is piped")).lines()
    }

    pub fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
