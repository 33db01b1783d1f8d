//! A log on standard output: each line names the module and the process.

use std::{fmt::Arguments, process};

pub fn note(module: &str, what: Arguments<'_>) {
    println!("  {module:13} in process {}: {what}", process::id());
}
