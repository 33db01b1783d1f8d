//! An output replaces its file as a whole, after the run. Anything that fails leaves every file as it was.
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use support::{GOOD, assert_fails, path, program};

const SAME: &str = "are the same file; name another one with";
/// A content longer than any output of these tests.
const OLD: &[u8] = &[b'~'; 300_000];
const AVERAGES: [&str; 4] = ["--fast", "1", "--slow", "2"];

/// An empty folder but for a `bars.csv`.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(path(&format!("outputs-{name}")));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("the target directory can be written");
    fs::write(folder.join("bars.csv"), GOOD).expect("a new folder can be written");
    folder
}

/// The program in a folder.
fn run_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.current_dir(folder).args(arguments);
    command
}

#[track_caller]
fn assert_runs(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

/// The names in a folder, with the content of a file or the target of a link.
fn state(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder");
    let state = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        let content = match fs::read_link(&path) {
            Ok(target) => target.into_os_string().into_encoded_bytes(),
            Err(_) if path.is_dir() => Vec::new(),
            Err(_) => fs::read(&path).expect("a file"),
        };
        (path, content)
    });
    state.collect()
}

/// Refused with these texts, and the folder stays as it is.
#[track_caller]
fn assert_changes_nothing(folder: &Path, arguments: &[&str], says: &[&str]) {
    let before = state(folder);
    assert_fails(&mut run_in(folder, arguments), says);
    assert!(state(folder) == before, "{arguments:?} changed a file");
}

/// A name of one file of a folder in several spellings, which end in this.
fn spellings(folder: &Path, file: &str, ending: &str) -> Vec<String> {
    let absolute = folder.join(file);
    fs::create_dir(folder.join("inner")).expect("a new folder");
    symlink(folder, folder.join("round")).expect("a new link");
    symlink(&absolute, folder.join(format!("absolute{ending}"))).expect("a new link");
    symlink(file, folder.join(format!("relative{ending}"))).expect("a new link");
    symlink(
        format!("relative{ending}"),
        folder.join(format!("chain{ending}")),
    )
    .expect("a new link");
    vec![
        file.to_owned(),
        format!("./{file}"),
        format!("inner/../{file}"),
        format!("round/{file}"),
        absolute.to_str().expect("UTF-8").to_owned(),
        format!("absolute{ending}"),
        format!("relative{ending}"),
        format!("chain{ending}"),
    ]
}

#[test]
fn the_csv_file_is_never_an_output() {
    for ending in [".csv", ".svg", ".png"] {
        let folder = folder("input");
        let file = format!("bars{ending}");
        fs::write(folder.join(&file), GOOD).expect("a new file");
        let mut names = spellings(&folder, &file, ending);
        fs::hard_link(folder.join(&file), folder.join(format!("hard{ending}")))
            .expect("a new link");
        names.push(format!("hard{ending}"));

        for name in &names {
            let mut options = vec!["--trades"];
            if ending != ".csv" {
                options.push("--plot");
            }
            for option in options {
                let arguments = [&AVERAGES[..], &["--csv", &file, option, name]].concat();
                assert_changes_nothing(&folder, &arguments, &[name, option, "--csv", SAME]);
                // The other way round, the bars are read through the other name.
                let arguments = [&AVERAGES[..], &["--csv", name, option, &file]].concat();
                assert_changes_nothing(&folder, &arguments, &[&file, option, "--csv", SAME]);
            }
            let mut options = vec![("--cells", ["--plot", "new.svg"])];
            if ending != ".csv" {
                options.push(("--plot", ["--cells", "new.csv"]));
            }
            for (option, other) in options {
                let sweep = ["sweep", "--csv", &file, option, name];
                let arguments = [&sweep[..], &AVERAGES, &other].concat();
                assert_changes_nothing(&folder, &arguments, &[name, option, "--csv", SAME]);
            }
        }
    }
}

#[test]
fn a_csv_file_with_the_default_name_of_an_output_stays() {
    let folder = folder("default");
    for (name, option) in [("sweep.csv", "--cells"), ("sweep.svg", "--plot")] {
        fs::write(folder.join(name), GOOD).expect("a new file");
        let arguments = [&["sweep", "--csv", name][..], &AVERAGES].concat();
        assert_changes_nothing(&folder, &arguments, &[name, option, "--csv", SAME]);
        fs::remove_file(folder.join(name)).expect("the file is there");
    }
}

#[test]
fn two_outputs_are_never_one_file() {
    for old in [true, false] {
        let folder = folder("outputs");
        if old {
            fs::write(folder.join("out.svg"), OLD).expect("a new file");
        }
        let names = spellings(&folder, "out.svg", ".svg");
        for name in &names {
            for (first, second) in [(name.as_str(), "out.svg"), ("out.svg", name)] {
                let arguments = ["--csv", "bars.csv", "--plot", first, "--trades", second];
                let says = [second, "--trades and --plot", SAME, "with --trades"];
                assert_changes_nothing(&folder, &[&arguments[..], &AVERAGES].concat(), &says);
                let arguments = [
                    "sweep", "--csv", "bars.csv", "--plot", first, "--cells", second,
                ];
                let says = [first, "--plot and --cells", SAME, "with --plot"];
                assert_changes_nothing(&folder, &[&arguments[..], &AVERAGES].concat(), &says);
            }
        }
    }
}

/// A shell in a folder, for redirections; `$0` is the program.
fn shell(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_backtest")])
        .current_dir(folder);
    command
}

#[test]
fn the_file_of_stdout_is_never_an_output() {
    let folder = folder("stdout");
    fs::write(folder.join("out.svg"), b"old\n").expect("a new file");
    let before = state(&folder);
    for (options, option) in [
        ("--trades out.svg", "--trades"),
        ("--trades /dev/stdout", "--trades"),
        ("--plot ./out.svg", "--plot"),
    ] {
        let script = format!(r#""$0" --csv bars.csv {options} >>out.svg"#);
        assert_fails(&mut shell(&folder, &script), &[option, "stdout", SAME]);
        assert!(state(&folder) == before, "{options} changed a file");
    }
}

#[test]
fn a_run_that_fails_leaves_every_file_as_it_was() {
    let folder = folder("failure");
    fs::create_dir(folder.join("folder.svg")).expect("a new folder");
    symlink("/dev/full", folder.join("full.svg")).expect("a new link");
    fs::write(folder.join("damaged.csv"), GOOD.replace("1.7", "17")).expect("a new file");
    for name in ["old.svg", "old.png", "old.csv"] {
        fs::write(folder.join(name), OLD).expect("a new file");
    }
    let cases: [(&[&str], &str); 9] = [
        (&["--plot", "chart.gif"], "end it in .svg or .png"),
        (&["--plot", "no/such.svg"], "cannot be written"),
        (&["--plot", "folder.svg"], "cannot be written"),
        (&["--plot", "full.svg"], "cannot be written"),
        (
            &["--plot", "old.svg", "--csv", "damaged.csv"],
            "is outside low",
        ),
        (
            &["--plot", "old.svg", "--csv", "none.csv"],
            "cannot be read",
        ),
        (&["--plot", "old.png", "--size", "1e300"], "is out of range"),
        (&["--plot", "old.svg", "--cash", "0"], "is out of range"),
        (
            &["--plot", "old.svg", "--slow", "1"],
            "give a smaller --fast",
        ),
    ];
    for (case, says) in cases {
        let option = |name, value| {
            if case.contains(&name) {
                vec![]
            } else {
                vec![name, value]
            }
        };
        let common = [
            &option("--csv", "bars.csv")[..],
            &["--fast", "1"],
            &option("--slow", "2"),
            case,
        ]
        .concat();
        for table in ["old.csv", "new.csv"] {
            assert_changes_nothing(
                &folder,
                &[&common[..], &["--trades", table]].concat(),
                &[says],
            );
            let sweep = [&["sweep", "--cells", table][..], &common].concat();
            assert_changes_nothing(&folder, &sweep, &[says]);
        }
    }
    for (task, option) in [(&[][..], "--trades"), (&["sweep"], "--cells")] {
        for table in ["no/such.csv", "folder.svg", "full.svg"] {
            for plot in ["old.svg", "new.svg", "new.png"] {
                let outputs = ["--csv", "bars.csv", option, table, "--plot", plot];
                let arguments = [task, &AVERAGES, &outputs].concat();
                assert_changes_nothing(&folder, &arguments, &[option, "cannot be written"]);
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_leaves_every_file_as_it_was() {
    let folder = folder("full");
    fs::write(folder.join("old.csv"), OLD).expect("a new file");
    fs::write(folder.join("old.svg"), OLD).expect("a new file");
    let before = state(&folder);
    // A limit on the size of a file is a disk that is full after some blocks.
    for (table, plot, option) in [
        ("old.csv", "/dev/null", "--trades"),
        ("new.csv", "/dev/null", "--trades"),
        ("/dev/null", "old.svg", "--plot"),
        ("/dev/null", "new.svg", "--plot"),
        ("old.csv", "old.svg", "--plot"),
    ] {
        let plot = if plot == "/dev/null" {
            String::new()
        } else {
            format!("--plot {plot}")
        };
        let script = format!(r#"trap "" XFSZ; ulimit -f 2; exec "$0" --trades {table} {plot}"#);
        assert_fails(&mut shell(&folder, &script), &["cannot be written", option]);
        assert!(state(&folder) == before, "{table} {plot}: a file changed");
    }
}

#[test]
fn an_output_replaces_its_file_as_a_whole() {
    let folder = folder("replaced");
    let arguments = ["--json", "--trades", "old.csv", "--plot", "old.svg"];
    fs::write(folder.join("old.csv"), OLD).expect("a new file");
    fs::write(folder.join("old.svg"), OLD).expect("a new file");
    assert_runs(&mut run_in(&folder, &arguments));
    let trades = fs::read_to_string(folder.join("old.csv")).expect("UTF-8");
    assert_eq!(trades.lines().count(), 257);
    assert!(trades.starts_with("size,entry_bar,") && !trades.contains('~'));
    let plot = fs::read_to_string(folder.join("old.svg")).expect("UTF-8");
    assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));

    // The same as in new files, and nothing else is left in the folder.
    let arguments = ["--json", "--trades", "new.csv", "--plot", "new.svg"];
    assert_runs(&mut run_in(&folder, &arguments));
    let state = state(&folder);
    let names: Vec<_> = state
        .keys()
        .map(|path| path.file_name().expect("a name"))
        .collect();
    assert_eq!(
        names,
        ["bars.csv", "new.csv", "new.svg", "old.csv", "old.svg"]
    );
    assert_eq!(state[&folder.join("new.csv")], trades.as_bytes());
    assert_eq!(state[&folder.join("new.svg")], plot.as_bytes());
}

#[test]
fn an_output_keeps_links_and_permissions() {
    let folder = folder("kept");
    let mode = |name: &str| {
        let file = fs::metadata(folder.join(name)).expect("a file");
        file.permissions().mode() & 0o777
    };
    for (name, permissions) in [("private.csv", 0o600), ("shared.csv", 0o666)] {
        let file = folder.join(name);
        fs::write(&file, OLD).expect("a new file");
        fs::set_permissions(&file, fs::Permissions::from_mode(permissions))
            .expect("a file of ours");
        assert_runs(&mut run_in(&folder, &["--trades", name]));
        assert_eq!(mode(name), permissions, "{name}");
    }
    // A new file has the permissions that any new file has.
    fs::write(folder.join("plain.txt"), b"").expect("a new file");
    assert_runs(&mut run_in(&folder, &["--trades", "new.csv"]));
    assert_eq!(mode("new.csv"), mode("plain.txt"));

    // Links to a file that is there, and to one that is not yet.
    for target in ["private.csv", "later.csv"] {
        let link = folder.join("link.csv");
        let _ = fs::remove_file(&link);
        symlink(target, &link).expect("a new link");
        assert_runs(&mut run_in(&folder, &["--trades", "link.csv"]));
        assert_eq!(
            fs::read_link(&link).expect("still a link"),
            Path::new(target)
        );
        let content = fs::read_to_string(folder.join(target)).expect("UTF-8");
        assert!(content.starts_with("size,"), "{target}");
    }
}

#[test]
fn an_output_may_be_a_pipe_or_a_device() {
    let folder = folder("device");
    let both = assert_runs(&mut run_in(&folder, &["--json", "--trades", "/dev/stdout"]));
    assert!(both.starts_with("size,entry_bar,"), "{both}");
    assert!(both.trim_end().ends_with('}'), "{both}");
    assert_runs(&mut run_in(&folder, &["--trades", "/dev/null"]));
    // Bars from a pipe, too.
    let script = r#"cat bars.csv | "$0" --json --csv /dev/stdin --trades /dev/stdout"#;
    assert!(assert_runs(&mut shell(&folder, script)).starts_with("size,entry_bar,"));
}
