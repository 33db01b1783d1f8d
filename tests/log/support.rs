//! Logs in folders of their own, and child processes of this test program.

use crate::market::Input;
use static_bus::log::{LogError, Options, Reader, Writer};
use static_bus::time::Time;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use tempfile::TempDir;

/// A folder with the log `run`.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn log(&self) -> PathBuf {
        self.file("run")
    }

    pub fn segment(&self, number: u64) -> PathBuf {
        self.file(&format!("run.{number:06}.log"))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The segments, in order.
    pub fn segments(&self) -> Vec<PathBuf> {
        let segments = (1..).map(|number| self.segment(number));
        segments.take_while(|path| path.exists()).collect()
    }

    /// The text of an error, without the folder.
    pub fn text(&self, error: impl ToString) -> String {
        let folder = format!("{}/", self.0.path().display());
        error.to_string().replace(&folder, "")
    }

    /// Reads the inputs until the end or an error.
    pub fn read(&self) -> (Vec<(Time, Input)>, Option<LogError>) {
        let mut inputs = vec![];
        match Reader::open(self.log()) {
            Ok(reader) => {
                for input in reader {
                    match input {
                        Ok(input) => inputs.push(input),
                        Err(error) => return (inputs, Some(error)),
                    }
                }
                (inputs, None)
            }
            Err(error) => (inputs, Some(error)),
        }
    }

    pub fn change(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(file).unwrap();
        change(&mut bytes);
        fs::write(file, bytes).unwrap();
    }
}

/// Records inputs, with a flush after each `flush_after`.
pub fn record<E: std::fmt::Debug>(
    writer: &mut Writer<Input>,
    inputs: impl IntoIterator<Item = Result<(Time, Input), E>>,
    flush_after: usize,
) {
    for (number, input) in (1..).zip(inputs) {
        let (time, input) = input.unwrap();
        writer.record(time, &input).unwrap();
        if number % flush_after == 0 {
            writer.flush().unwrap();
        }
    }
}

pub fn small_segments() -> Options {
    Options::new().segment_bytes(400)
}

/// Equal inputs have equal texts.
pub fn json(inputs: &[(Time, Input)]) -> String {
    serde_json::to_string(inputs).unwrap()
}

/// In a child process, what it was started to do.
pub fn task() -> Option<Vec<String>> {
    let task = env::var("STATIC_BUS_TASK").ok()?;
    Some(task.split(' ').map(str::to_owned).collect())
}

/// A child process that runs the test `test` of this program with a task.
pub fn child(test: &str, task: &str) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    child.env("STATIC_BUS_TASK", task);
    child
}
