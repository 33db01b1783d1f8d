//! A disk that is full: the size of files is limited by `ulimit`.

#![cfg(unix)]

use crate::at;
use crate::market::{Halt, Input};
use crate::support::{Folder, child, task};
use static_bus::log::{OnError, Options, Reader, WriteError};
use std::path::Path;
use std::process::Command;

/// The stdout of a child process that runs `test` and may write 4 KiB to each file.
fn child_with_a_small_disk(test: &str, folder: &Folder) -> String {
    let child = child(test, folder.log().to_str().unwrap());
    // The signal of the limit is ignored, so that a write is an error, as on a full disk. Blocks are of 512 bytes.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]);
    shell.arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The lines that a child printed with this label.
fn labelled<'a>(stdout: &'a str, label: &str) -> Vec<&'a str> {
    stdout
        .lines()
        .filter_map(|line| line.split_once(label))
        .map(|(_, rest)| rest)
        .collect()
}

fn options() -> Options {
    Options::new().flush_after(10)
}

/// Checks that the log has at least the recorded inputs, from the first on.
fn check_log(folder: &Folder, recorded: u64) {
    let (inputs, error) = folder.read();
    assert!(error.is_none(), "{error:?}");
    assert!(inputs.len() as u64 >= recorded);
    assert!(inputs.len() < 10_000);
    for (number, (time, _)) in (0..).zip(inputs) {
        assert_eq!(time, at(number));
    }
    assert!(
        Reader::<Input>::open(folder.log())
            .unwrap()
            .tail()
            .unwrap()
            .end
            .is_none()
    );
}

#[test]
fn a_full_disk_stops_the_run_and_says_what_is_recorded() {
    if let Some(log) = task() {
        let mut writer = options().create::<Input>(Path::new(&log[0])).unwrap();
        let stop = (0..10_000).find_map(|number| {
            writer
                .record(at(number), &Halt { symbol: 0 }.into())
                .err()
                .map(|error| (number, error))
        });
        let error = match stop {
            Some((_, error)) => error,
            None => writer.flush().unwrap_err(),
        };
        // The same error from then on.
        assert_eq!(writer.flush().unwrap_err().to_string(), error.to_string());
        let again = writer
            .record(at(20_000), &Halt { symbol: 0 }.into())
            .unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        println!("recorded={}", writer.recorded());
        println!("error={error}");
        assert_eq!(
            writer.end(at(20_000)).unwrap_err().to_string(),
            error.to_string()
        );
        return;
    }
    let folder = Folder::new();
    let test = "full_disk::a_full_disk_stops_the_run_and_says_what_is_recorded";
    let stdout = child_with_a_small_disk(test, &folder);
    let recorded = labelled(&stdout, "recorded=")[0].parse().unwrap();
    assert_eq!(
        folder.text(labelled(&stdout, "error=")[0]),
        format!(
            "run.000001.log cannot be written (File too large (os error 27)), so recording has ended, with {recorded} \
             inputs in the log: make room, and `append` to the log"
        )
    );
    check_log(&folder, recorded);
    // There is room again.
    let mut writer = Options::new().append::<Input>(folder.log()).unwrap();
    let position = writer.position();
    assert!(position >= recorded);
    writer
        .record(at(20_000), &Halt { symbol: 0 }.into())
        .unwrap();
    writer.end(at(20_000)).unwrap();
    assert_eq!(folder.read().0.len() as u64, position + 1);
}

#[test]
fn a_full_disk_lets_the_run_continue_if_that_is_chosen() {
    if let Some(log) = task() {
        let on_error = OnError::Continue(|error| println!("told={error}"));
        let mut writer = options()
            .on_error(on_error)
            .create::<Input>(Path::new(&log[0]))
            .unwrap();
        for number in 0..10_000 {
            writer
                .record(at(number), &Halt { symbol: 0 }.into())
                .unwrap();
        }
        let error = writer.flush().unwrap_err();
        assert!(matches!(error, WriteError::Io { .. }));
        assert_eq!(writer.failure().unwrap().to_string(), error.to_string());
        println!("recorded={}", writer.recorded());
        assert!(writer.end(at(20_000)).is_err());
        return;
    }
    let folder = Folder::new();
    let test = "full_disk::a_full_disk_lets_the_run_continue_if_that_is_chosen";
    let stdout = child_with_a_small_disk(test, &folder);
    let told = labelled(&stdout, "told=");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("cannot be written (File too large"),
        "{}",
        told[0]
    );
    check_log(&folder, labelled(&stdout, "recorded=")[0].parse().unwrap());
}

#[test]
fn a_segment_that_cannot_be_created_stops_the_run() {
    let folder = Folder::new();
    let mut writer = Options::new()
        .segment_bytes(400)
        .create::<Input>(folder.log())
        .unwrap();
    std::fs::create_dir(folder.segment(3)).unwrap();
    let error = (0..10_000).find_map(|number| {
        writer
            .record(at(number), &Halt { symbol: 0 }.into())
            .unwrap();
        writer.flush().err()
    });
    let text = folder.text(error.unwrap());
    assert!(
        text.starts_with("run.000003.log cannot be written ("),
        "{text}"
    );
    // All that is recorded can be read when the obstacle is gone.
    std::fs::remove_dir(folder.segment(3)).unwrap();
    let (inputs, error) = folder.read();
    assert!(error.is_none());
    assert!(inputs.len() as u64 >= writer.recorded());
}
