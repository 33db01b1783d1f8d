//! The files of a log: `run.000001.log`, `run.000002.log`, … for the log `run`.

use super::LogError;
use alloc::vec::Vec;
use std::ffi::OsString;
use std::format;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The path of a segment; segments are counted from 1.
pub(super) fn segment(log: &Path, number: u64) -> PathBuf {
    with_suffix(log, &format!(".{number:06}.log"))
}

/// The segments of a log that exist, in order.
///
/// # Errors
/// If there are none, or if one is missing among them.
pub(super) fn segments(log: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let mut segments = existing(log)?;
    segments.sort();
    let Some((first, _)) = segments.first() else {
        return Err(LogError::NoLog { log: log.into() });
    };
    for ((number, _), expected) in segments.iter().zip(*first..) {
        if *number != expected {
            let file = segment(log, expected);
            return Err(LogError::MissingSegment { file });
        }
    }
    Ok(segments)
}

/// The segments of a log that exist, in any order.
pub(super) fn existing(log: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let folder = folder(log);
    let unreadable = |error| LogError::io(folder, error);
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some(number) = number(log, &path) {
            segments.push((number, path));
        }
    }
    Ok(segments)
}

/// The number of a segment; `None` if the file is none of this log.
fn number(log: &Path, file: &Path) -> Option<u64> {
    let (log, file) = (log.file_name()?.to_str()?, file.file_name()?.to_str()?);
    let digits = file
        .strip_prefix(log)?
        .strip_prefix('.')?
        .strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (digits == format!("{number:06}")).then_some(number)
}

/// Writes a file so that it is there as a whole or, after a crash, as it was before; returns it, open
/// behind what was written.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let temporary = with_suffix(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // Elsewhere a folder cannot be opened as a file.
    #[cfg(unix)]
    File::open(folder(path))?.sync_all()?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}
