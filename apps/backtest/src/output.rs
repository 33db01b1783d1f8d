//! Output files: opened before the work begins, so a bad name is reported at once, and replaced as a whole
//! after it. A run that fails leaves every file as it was.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use same_file::Handle;
use tempfile::NamedTempFile;
use trading::one_line;

/// The files of a run, each with its option.
pub struct Files(Vec<(&'static str, Handle)>);

impl Files {
    /// The files of a run that reads this one.
    pub fn new(csv: Option<&Path>) -> Self {
        // A pipe is never overwritten, and would block when opened again.
        let csv = csv.filter(|path| path.is_file());
        let csv = csv.and_then(|path| Handle::from_path(path).ok());
        let stdout = Handle::stdout().ok();
        let files = [("--csv", csv), ("stdout", stdout)];
        Self(
            files
                .into_iter()
                .filter_map(|(name, file)| Some((name, file?)))
                .collect(),
        )
    }

    /// Opens the file of an option, unless it is another file of the run. Its content stays.
    pub fn create(&mut self, option: &'static str, path: &Path) -> Result<Output, String> {
        let failed = |failure: io::Error| cannot_be_written(option, path, failure);
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let target = if metadata.is_file() {
            let place = fs::canonicalize(path).map_err(failed)?;
            let placeholder = is_new.then(|| Placeholder(place.clone()));
            let file = Handle::from_file(file).map_err(failed)?;
            if let Some((other, _)) = self.0.iter().find(|(_, other)| *other == file) {
                return Err(format!(
                    "{}: {option} and {other} are the same file; name another one with {option}",
                    one_line(path)
                ));
            }
            self.0.push((option, file));
            Target::File {
                place,
                permissions: metadata.permissions(),
                placeholder,
            }
        } else {
            Target::Stream(file)
        };
        Ok(Output {
            option,
            path: path.to_owned(),
            target,
        })
    }
}

/// The file of an option, open and not yet written.
pub struct Output {
    option: &'static str,
    path: PathBuf,
    target: Target,
}

enum Target {
    /// A device or a pipe.
    Stream(File),
    File {
        /// The path without links.
        place: PathBuf,
        permissions: Permissions,
        placeholder: Option<Placeholder>,
    },
}

/// A file that is new and empty. It is removed unless it gets a content.
struct Placeholder(PathBuf);

impl Drop for Placeholder {
    fn drop(&mut self) {
        if fs::metadata(&self.0).is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl Output {
    /// Writes the content to a file beside the one of the option; to a device or a pipe at once.
    pub fn write(self, content: &[u8]) -> Result<Written, String> {
        let Self {
            option,
            path,
            target,
        } = self;
        let failed = |failure: io::Error| cannot_be_written(option, &path, failure);
        let file = match target {
            Target::Stream(mut file) => {
                file.write_all(content).map_err(failed)?;
                None
            }
            Target::File {
                place,
                permissions,
                placeholder,
            } => {
                let file = write_beside(&place, content, permissions).map_err(failed)?;
                Some((file, place, placeholder))
            }
        };
        Ok(Written { option, path, file })
    }

    /// Writes a table: a header, and a row for each record.
    pub fn write_csv<const N: usize>(
        self,
        header: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
    ) -> Result<Written, String> {
        let mut table = Vec::new();
        let mut writer = csv::Writer::from_writer(&mut table);
        let header = header.map(str::to_owned);
        let written = [header]
            .into_iter()
            .chain(rows)
            .try_for_each(|row| writer.write_record(row));
        written.map_err(|failure| cannot_be_written(self.option, &self.path, failure))?;
        drop(writer);
        self.write(&table)
    }
}

fn write_beside(
    place: &Path,
    content: &[u8],
    permissions: Permissions,
) -> io::Result<NamedTempFile> {
    let folder = place.parent().unwrap_or(place);
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(permissions)?;
    Ok(file)
}

/// A content that is written and not yet at its place.
pub struct Written {
    option: &'static str,
    path: PathBuf,
    file: Option<(NamedTempFile, PathBuf, Option<Placeholder>)>,
}

/// Replaces the files of a run by what was written. Call it after everything that may fail.
pub fn replace(files: impl IntoIterator<Item = Written>) -> Result<(), String> {
    for Written { option, path, file } in files {
        if let Some((file, place, _placeholder)) = file {
            file.persist(place)
                .map_err(|failure| cannot_be_written(option, &path, failure.error))?;
        }
    }
    Ok(())
}

fn cannot_be_written(option: &str, path: &Path, failure: impl Display) -> String {
    format!(
        "{}: cannot be written ({failure}); name a file in a folder that exists with {option}",
        one_line(path)
    )
}
