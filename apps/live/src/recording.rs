//! The files of a log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use static_bus::log::{Options, Reader, Writer};

use crate::messages::Input;

/// A log at this path, in the place of an earlier one.
pub fn create(log: &Path) -> Result<Writer<Input>, String> {
    let log = path(log);
    for number in 1.. {
        let segment = log.with_added_extension(format!("{number:06}.log"));
        match fs::remove_file(&segment) {
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => break,
            removed => removed.map_err(|failure| {
                let segment = segment.display();
                format!("{segment} cannot be replaced ({failure}); name another log with --log")
            })?,
        }
    }
    Options::new()
        .create(log)
        .map_err(|error| error.to_string())
}

/// The log at this path.
pub fn open(log: &Path) -> Result<Reader<Input>, String> {
    Reader::open(path(log)).map_err(|error| error.to_string())
}

/// The path as the library takes it: `run` for the log `run.log` in the files `run.000001.log`, ….
fn path(log: &Path) -> PathBuf {
    match log.extension() {
        Some(ending) if ending == "log" => log.with_extension(""),
        _ => log.to_owned(),
    }
}
