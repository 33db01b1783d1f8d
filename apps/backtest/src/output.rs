//! Output files: opened before the work begins, so a bad name is reported at once.

use std::{
    fmt::Display,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// The file of an option, open and empty.
pub struct Output {
    option: &'static str,
    path: PathBuf,
    file: File,
}

impl Output {
    pub fn create(option: &'static str, path: &Path) -> Result<Self, String> {
        match File::create(path) {
            Ok(file) => Ok(Self {
                option,
                path: path.to_owned(),
                file,
            }),
            Err(failure) => Err(cannot_be_written(option, path, failure)),
        }
    }

    pub fn write(mut self, content: &[u8]) -> Result<(), String> {
        self.file
            .write_all(content)
            .map_err(|failure| cannot_be_written(self.option, &self.path, failure))
    }

    /// Writes a table: a header, and a row for each record.
    pub fn write_csv<const N: usize>(
        self,
        header: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
    ) -> Result<(), String> {
        let failed = |failure: csv::Error| cannot_be_written(self.option, &self.path, failure);
        let mut writer = csv::Writer::from_writer(&self.file);
        writer.write_record(header).map_err(failed)?;
        for row in rows {
            writer.write_record(row).map_err(failed)?;
        }
        writer.flush().map_err(|failure| failed(failure.into()))
    }
}

fn cannot_be_written(option: &str, path: &Path, failure: impl Display) -> String {
    format!(
        "{}: cannot be written ({failure}); name a file in a folder that exists with {option}",
        one_line(path)
    )
}

/// A path for an error message. Line breaks are escaped, because an error is one line.
pub fn one_line(path: &Path) -> String {
    path.display().to_string().replace(['\n', '\r'], "?")
}
