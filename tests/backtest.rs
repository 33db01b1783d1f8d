//! The reference backtest agrees with an independent tool, and refuses bad input in one line.

mod support;

use std::{fs, path::Path, process::Output};

use serde_json::Value;

const ORACLE: &str = include_str!("../examples/backtest/data/oracle_sp500.json");

/// Five good bars; each bad file below spoils one thing.
const GOOD: &str = "\
date,open,high,low,close
2000-01-03,1.0,2.0,0.5,1.5
2000-01-04,1.0,2.0,0.5,1.6
2000-01-05,1.0,2.0,0.5,1.7
2000-01-06,1.0,2.0,0.5,1.6
2000-01-07,1.0,2.0,0.5,1.5
";

fn backtest(arguments: &[&str]) -> Output {
    support::run_example("backtest", arguments)
}

/// What a run prints that succeeds and has nothing to say on stderr.
fn stdout(arguments: &[&str]) -> String {
    let output = backtest(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {stderr}"
    );
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).expect("stdout is one JSON value")
}

/// A CSV file of this test run.
fn file(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("backtest-{name}.csv"));
    fs::write(&path, text).expect("the target directory can be written");
    path.to_str()
        .expect("the target directory is UTF-8")
        .to_owned()
}

#[track_caller]
fn assert_close(what: &str, ours: &Value, theirs: &Value, tolerance: f64) {
    let (a, b) = (ours.as_f64().expect(what), theirs.as_f64().expect(what));
    assert!(
        (a - b).abs() <= tolerance * b.abs(),
        "{what}: {a} here, {b} there"
    );
}

#[track_caller]
fn assert_agrees_with_oracle(set: &str) {
    let oracle: Value = serde_json::from_str(ORACLE).expect("the oracle is JSON");
    let theirs = &oracle[set];
    let option = |name: &str| theirs["params"][name].to_string();
    let ours = json(&[
        "--json",
        "--fast",
        &option("fast"),
        "--slow",
        &option("slow"),
        "--size",
        &option("size"),
        "--cash",
        &option("cash"),
        "--commission",
        &option("commission"),
    ]);

    for count in ["bars", "closed_trades"] {
        assert_eq!(ours[count], theirs[count], "{count}");
    }
    for number in [
        "equity_final",
        "equity_peak",
        "max_drawdown_pct",
        "win_rate_pct",
    ] {
        assert_close(number, &ours[number], &theirs[number], 1e-9);
    }
    assert_close("sharpe", &ours["sharpe"], &theirs["sharpe"], 1e-6);

    let trades = |report: &Value| report["trades"].as_array().expect("trades").clone();
    let (ours, theirs) = (trades(&ours), trades(theirs));
    assert_eq!(ours.len(), theirs.len(), "trades");
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        for bar in ["entry_bar", "exit_bar"] {
            assert_eq!(ours[bar], theirs[bar], "{bar} of trade {index}");
        }
        for number in ["size", "entry_price", "exit_price", "pnl"] {
            let what = format!("{number} of trade {index}");
            assert_close(&what, &ours[number], &theirs[number], 1e-9);
        }
    }
}

#[test]
fn sma_10_20_agrees_with_the_oracle() {
    assert_agrees_with_oracle("sp500_10_20");
}

#[test]
fn sma_50_200_agrees_with_the_oracle() {
    assert_agrees_with_oracle("sp500_50_200");
}

#[test]
fn without_arguments_it_runs_sma_10_20_on_the_committed_bars() {
    let report = stdout(&[]);
    let row = |label: &str| {
        let line = report.lines().find(|line| line.starts_with(label));
        line.unwrap_or_else(|| panic!("no {label:?} in\n{report}"))[label.len()..]
            .trim()
            .to_owned()
    };
    assert_eq!(row("bars"), "5105");
    assert_eq!(row("closed trades"), "256");
    assert_eq!(row("final equity"), "975892.66");
    assert_eq!(row("peak equity"), "1000893.36");
    assert_eq!(row("PnL"), "-24107.34");
    assert_eq!(row("maximum drawdown"), "-3.01 %");
    assert_eq!(row("Sharpe"), "-0.38");
    assert_eq!(row("event    BarOpen"), "5105");
    assert_eq!(row("event    Signal"), "257");
    assert_eq!(row("event    Fill"), "513");
    assert_eq!(row("event    TradeClosed"), "256");
    assert_eq!(row("event    OrderRejected"), "0");
    assert_eq!(row("command  PlaceOrder"), "513");
    assert_eq!(row("query    GetSma"), "10191");
    for label in ["fees", "events per second", "ns per event"] {
        let number: f64 = row(label).parse().expect(label);
        assert!(number > 0.0, "{label}");
    }
}

#[test]
fn an_account_worth_nothing_opens_no_more_positions() {
    let report = stdout(&["--cash", "1000"]);
    let rejected = report
        .lines()
        .find_map(|line| line.strip_prefix("event    OrderRejected"))
        .expect("a row for OrderRejected");
    assert!(rejected.trim().parse::<u64>().expect("a count") > 0);
}

#[test]
fn columns_may_come_in_any_order_and_case_with_others_between() {
    let mut text = String::from("Volume, CLOSE ,Low,High,Open,Date\r\n");
    for line in GOOD.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').rev().collect();
        text += &format!("7,{}\r\n", cells.join(","));
    }
    let run = |path: &str| json(&["--json", "--fast", "1", "--slow", "2", "--csv", path]);
    let (plain, shuffled) = (run(&file("plain", GOOD)), run(&file("shuffled", &text)));
    assert_eq!(plain["bars"], 5);
    assert_eq!(plain, shuffled);
}

#[test]
fn timestamps_do_as_dates() {
    let hourly = "date,open,high,low,close\n\
        2000-01-03T09:00:00Z,1,1,1,1\n2000-01-03 10:00,1,1,1,1\n2000-01-03T12:00+01:30,1,1,1,1\n";
    let unix = "date,open,high,low,close\n1577923200,1,1,1,1\n1577923260,1,1,1,1\n";
    assert_eq!(
        json(&["--json", "--csv", &file("hourly", hourly)])["bars"],
        3
    );
    assert_eq!(json(&["--json", "--csv", &file("unix", unix)])["bars"], 2);
}

#[test]
fn numbers_without_a_meaning_are_null() {
    let report = json(&["--json", "--csv", &file("few", GOOD)]);
    assert_eq!(report["closed_trades"], 0);
    assert_eq!(report["win_rate_pct"], Value::Null);
    assert_eq!(report["sharpe"], Value::Null);
}

/// Exit code 2, nothing on stdout, and one line on stderr that says all of this.
#[track_caller]
fn assert_refused(arguments: &[&str], says: &[&str]) {
    let output = backtest(arguments);
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} printed to stdout");
    assert!(
        stderr.ends_with('\n') && stderr.lines().count() == 1,
        "not one line: {stderr:?}"
    );
    for part in says {
        assert!(stderr.contains(part), "no {part:?} in {stderr:?}");
    }
}

/// The file is refused, at this line, with this problem and this remedy.
#[track_caller]
fn assert_file_refused(name: &str, text: &str, line: usize, problem: &str, remedy: &str) {
    let path = file(name, text);
    assert_refused(
        &["--csv", &path],
        &[&format!("{path}:{line}: "), problem, remedy],
    );
}

#[test]
fn a_missing_file_is_refused() {
    assert_refused(
        &["--csv", "no/such/bars.csv"],
        &[
            "no/such/bars.csv: cannot be read",
            "name a readable CSV file",
        ],
    );
}

#[test]
fn a_missing_column_is_refused() {
    let text = GOOD.replace("low", "lowest");
    assert_file_refused("column", &text, 1, "no column `low`", "begin the file with");
}

#[test]
fn a_column_given_twice_is_refused() {
    let text = GOOD.replace("low", "Open");
    assert_file_refused(
        "twice",
        &text,
        1,
        "two columns are named `open`",
        "rename one",
    );
}

#[test]
fn a_file_without_bars_is_refused() {
    assert_file_refused(
        "header",
        "date,open,high,low,close\n",
        1,
        "no bars",
        "at least one",
    );
    assert_file_refused("empty", "", 1, "no column `date`", "begin the file with");
}

#[test]
fn a_bad_number_is_refused() {
    for (name, bad) in [
        ("word", "x"),
        ("none", ""),
        ("nan", "NaN"),
        ("inf", "inf"),
        ("zero", "0"),
        ("minus", "-1"),
    ] {
        let problem = format!("close {bad:?} is not a price");
        assert_file_refused(
            name,
            &GOOD.replace("1.7", bad),
            4,
            &problem,
            "write a positive number",
        );
    }
    assert_file_refused(
        "high",
        &GOOD.replacen("2.0", "x", 1),
        2,
        "high \"x\"",
        "write",
    );
    assert_file_refused(
        "lines",
        &GOOD.replace("1.7", "\"a\nb\""),
        4,
        "close \"a\\nb\"",
        "write",
    );
    assert_file_refused("short", &GOOD.replace(",1.7", ""), 4, "close \"\"", "write");
}

#[test]
fn a_bad_line_is_named_whatever_the_line_ends_and_blank_lines() {
    let crlf = GOOD.replace("1.7", "x").replace('\n', "\r\n");
    assert_file_refused("crlf", &crlf, 4, "close \"x\"", "write");
    let blank = GOOD
        .replace("1.7", "x")
        .replace("2000-01-05", "\n\n2000-01-05");
    assert_file_refused("blank", &blank, 6, "close \"x\"", "write");
}

#[test]
fn a_bad_date_is_refused() {
    for (name, bad) in [
        ("day", "2000-02-30"),
        ("text", "5 Jan"),
        ("hour", "2000-01-05T24:00"),
    ] {
        let problem = format!("date {bad:?} is not understood");
        assert_file_refused(
            name,
            &GOOD.replace("2000-01-05", bad),
            4,
            &problem,
            "write 2000-01-31",
        );
    }
}

#[test]
fn unsorted_dates_are_refused() {
    for (name, date) in [("back", "1999-12-31"), ("same", "2000-01-04")] {
        let text = GOOD.replace("2000-01-05", date);
        assert_file_refused(
            name,
            &text,
            4,
            "is not after the bar before",
            "sort the bars by date",
        );
    }
}

#[test]
fn a_fast_average_that_is_not_faster_is_refused() {
    for fast in ["20", "21"] {
        assert_refused(
            &["--fast", fast],
            &["--fast", "is not below --slow 20", "give a smaller"],
        );
    }
    assert_refused(&["--fast", "0"], &["--fast 0", "give at least 1"]);
}

#[test]
fn a_number_out_of_range_is_refused() {
    for option in ["--size", "--cash"] {
        for value in ["0", "NaN", "inf", "-1"] {
            assert_refused(
                &[option, value],
                &[option, value, "give a finite, positive number"],
            );
        }
    }
    for value in ["NaN", "1", "-0.1"] {
        assert_refused(
            &["--commission", value],
            &["--commission", value, "0.002 means"],
        );
    }
}

#[test]
fn an_option_that_is_not_understood_is_refused() {
    assert_refused(&["--fast", "ten"], &["'ten'", "--fast", "see --help"]);
    assert_refused(&["--quick"], &["--quick", "see --help"]);
    assert_refused(&["--csv"], &["--csv", "see --help"]);
}

#[test]
fn help_lists_every_option() {
    let help = stdout(&["--help"]);
    for option in [
        "--csv",
        "--fast",
        "--slow",
        "--size",
        "--cash",
        "--commission",
        "--json",
    ] {
        assert!(help.contains(option), "no {option} in\n{help}");
    }
}
