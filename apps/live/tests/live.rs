//! A run ends by itself or by Ctrl-C, and its log repeats it to the same trades and the same state.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use support::{FAST, Process, SLOW, assert_refused, live, log, replay, result, segments, text};

#[test]
fn without_options_a_run_ends_within_twenty_seconds_and_its_log_replays_to_the_same_result() {
    let log = log("whole");
    let start = Instant::now();
    let run = result(live().current_dir(log.parent().expect("a folder")));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(run.contains("\nbars           5105\n"), "{run}");
    assert!(run.contains("\nstate hash     "), "{run}");

    let start = Instant::now();
    assert_eq!(result(&mut replay(&log)), run);
    assert!(start.elapsed() < took / 2, "{:?}", start.elapsed());
}

#[test]
fn a_run_reports_its_latencies_and_the_time_of_each_handler() {
    let run = live().args(FAST).arg("--log").arg(log("report")).output();
    let (_, report) = text(run.expect("the program starts"), Some(0));
    for part in [
        "to the strategy    10210 ",
        "to the order ",
        "&Portfolio",
        "input      live::messages::Tick",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
}

#[test]
fn compare_succeeds_when_the_replay_is_equal() {
    // The last of them sends all ticks at once.
    for pace in [&["--spin", FAST[0], FAST[1]][..], &["--speed-up", "1e12"]] {
        let run = live()
            .arg("compare")
            .args(pace)
            .arg("--log")
            .arg(log("compare"))
            .output();
        let (_, report) = text(run.expect("the program starts"), Some(0));
        assert!(
            report.contains("\nthe replay is equal to the run: "),
            "{report}"
        );
    }
}

#[test]
fn ctrl_c_ends_a_run_with_its_result_and_a_log_that_replays() {
    let log = log("interrupted");
    let (stdout, _) = run_until_signal(&log, "INT", str::to_owned, Some(0));
    assert!(stdout.contains("\nbars           "), "{stdout}");
    assert!(!stdout.contains("\nbars           5105\n"), "{stdout}");
    assert_eq!(result(&mut replay(&log)), stdout);
}

#[test]
fn the_log_of_a_run_that_was_killed_replays_what_was_flushed() {
    let log = log("no-end");
    run_until_signal(&log, "KILL", str::to_owned, None);
    let (stdout, stderr) = text(replay(&log).output().expect("the program starts"), Some(0));
    assert!(stdout.contains("\nbars           "), "{stdout}");
    assert!(
        stderr.contains("\nthe log has no end: the run was killed"),
        "{stderr}"
    );
}

#[test]
fn a_feed_whose_process_dies_ends_the_run_with_its_result_and_an_error() {
    let log = log("killed");
    let (stdout, stderr) = run_until_signal(&log, "KILL", child_of, Some(2));
    let error = stderr.lines().last().expect("an error");
    for part in [
        "error: the feed at 127.0.0.1:",
        " of 10210 ticks ",
        "its process ended with signal: 9",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert_eq!(result(&mut replay(&log)), stdout);
}

#[test]
fn a_feed_of_its_own_serves_a_run_and_tells_its_pace() {
    let mut feed = Process::start(live().arg("feed").args(FAST));
    let address = feed.stdout().next().expect("the address").expect("text");
    let log = log("connected");
    let run = result(live().arg("--feed").arg(address).arg("--log").arg(&log));
    assert_eq!(result(&mut replay(&log)), run);
}

#[test]
fn a_run_whose_stderr_nobody_reads_goes_on_to_its_result() {
    let log = log("unread");
    let mut run = Process::start(live().args(["--speed-up", "3e8", "--log"]).arg(&log));
    drop(run.stderr());
    let lines: Result<Vec<_>, _> = run.stdout().collect();
    assert_eq!(run.0.wait().expect("it ends").code(), Some(0));
    let stdout = lines.expect("text").join("\n") + "\n";
    assert_eq!(result(&mut replay(&log)), stdout);
}

#[test]
fn an_earlier_log_is_replaced() {
    let log = log("again");
    let mut last = String::new();
    for _ in 0..2 {
        last = result(live().args(FAST).arg("--log").arg(&log));
    }
    assert_eq!(result(&mut replay(&log)), last);
}

#[test]
fn a_flipped_bit_in_the_log_is_told_with_its_file_and_place() {
    let (file, error) = replay_changed("flipped", |bytes| bytes[bytes.len() / 2] ^= 1);
    let says = format!("error: {file} is damaged at byte ");
    assert!(error.starts_with(&says), "{error}");
}

#[test]
fn a_log_of_another_version_is_told_with_both_versions() {
    let (file, error) = replay_changed("version", |bytes| bytes[8] += 1);
    let says =
        format!("error: {file} has version 2 of the format, and this library reads version 1");
    assert!(error.starts_with(&says), "{error}");
}

#[test]
fn a_log_that_does_not_exist_is_an_error() {
    let log = log("missing");
    let path = log.with_extension("");
    let path = path.display();
    assert_refused(
        &mut replay(&log),
        &format!(
            "there is no log {path}: no file {path}.000001.log; give the path without number and ending, or create it"
        ),
    );
}

#[test]
fn an_address_without_a_feed_is_an_error() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    assert_refused(
        live()
            .args(["--feed", &address])
            .arg("--log")
            .arg(log("refused")),
        &format!(
            "{address}: no feed (Connection refused (os error 111)); \
             start one with `live feed --port PORT`, or leave out --feed"
        ),
    );
}

#[test]
fn a_server_that_is_no_feed_is_an_error() {
    assert_feed_refused(
        "HTTP/1.1 400 Bad Request",
        "no feed (it sent \"HTTP/1.1 400 Bad Request\"); \
         start one with `live feed --port PORT`, or leave out --feed",
    );
}

#[test]
fn a_feed_of_another_version_is_told_with_both_versions() {
    assert_feed_refused(
        "{\"Opening\":{\"version\":7,\"speed_up\":1.0,\"ticks\":2}}",
        "a feed of version 7, and this program reads version 1; \
         start the `live feed` of this program",
    );
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_before_the_run() {
    let log = log("folder").with_file_name("missing").join("run.log");
    let run = live().args(SLOW).arg("--log").arg(&log).output();
    let (stdout, stderr) = text(run.expect("the program starts"), Some(2));
    assert_eq!(stdout, "");
    let folder = log.parent().expect("a folder").display();
    let error = format!("error: {folder} cannot be used (No such file or directory (os error 2))");
    assert!(stderr.contains(&error), "{stderr}");
}

/// Connects a run to a server that sends this line, and expects this error.
#[track_caller]
fn assert_feed_refused(line: &'static str, error: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        writeln!(client, "{line}").expect("the client reads");
    });
    let mut run = live();
    run.args(["--feed", &address])
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    assert_refused(&mut run, &format!("{address}: {error}"));
    server.join().expect("the server ends");
}

/// The file of a log that was changed after the run, and the error of its replay.
#[track_caller]
fn replay_changed(name: &str, change: impl FnOnce(&mut [u8])) -> (String, String) {
    let log = log(name);
    result(live().args(FAST).arg("--log").arg(&log));
    let file = segments(&log).remove(0);
    let mut bytes = fs::read(&file).expect("the log");
    change(&mut bytes);
    fs::write(&file, bytes).expect("the log can be written");
    let output = replay(&log).output().expect("the program starts");
    let (_, stderr) = text(output, Some(2));
    let error = stderr.lines().last().expect("an error").to_owned();
    (file.display().to_string(), error)
}

/// Sends a signal to a process.
fn signal(name: &str, process: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process)
        .status();
    assert!(sent.expect("kill starts").success());
}

/// The process that this one has started.
fn child_of(process: &str) -> String {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(children).expect("Linux lists the children of a thread");
    children.trim().to_owned()
}

/// A run that would take a minute. Once it shows that it is running, the process that `whom` makes of its
/// id gets a signal. Returns stdout and stderr.
#[track_caller]
fn run_until_signal(
    log: &Path,
    name: &str,
    whom: fn(&str) -> String,
    code: Option<i32>,
) -> (String, String) {
    let mut run = Process::start(live().args(SLOW).arg("--log").arg(log));
    let mut stderr = run.stderr();
    let progress = stderr.next().expect("a line each second").expect("text");
    assert!(progress.contains("/10210 ticks, "), "{progress}");
    signal(name, &whom(&run.id()));
    let errors: Result<Vec<_>, _> = stderr.collect();
    let errors = errors.expect("text").join("\n");
    let mut stdout = String::new();
    let pipe = run.0.stdout.as_mut().expect("stdout is piped");
    pipe.read_to_string(&mut stdout).expect("text");
    let status = run.0.wait().expect("it has ended");
    assert_eq!(status.code(), code, "{errors}");
    (stdout, errors)
}
