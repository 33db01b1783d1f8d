//! Bars are read as they are meant, or refused with the file, the line and the remedy.

mod support;

use support::{GOOD, assert_refused, file, json};

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
        ("huge", "1e61"),
        ("tiny", "1e-61"),
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
        ("offset", "2000-01-05T14:30+99:99"),
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
fn a_row_with_more_cells_than_the_header_is_refused() {
    for (name, row) in [
        ("thousands", "1,455.22,1,460.00,1,450.00,1,458.00"),
        ("decimals", "1455,22,1460,00,1450,00,1458,00"),
        ("one", "1.0,2.0,0.5,1.7,1"),
        ("far", "1.0,2.0,0.5,1.7,,,x"),
        ("first", "1,000.5,2.0,0.5,1.7"),
    ] {
        let text = GOOD.replace("1.0,2.0,0.5,1.7", row);
        let cells = format!("{} cells, and the header has 5", row.split(',').count() + 1);
        assert_file_refused(name, &text, 4, &cells, "write 1455.22");
    }
    // With a header of more columns, and of columns without a name at its end.
    for (name, columns) in [("volume", "close,volume"), ("nameless", "close, ,")] {
        let text = GOOD.replace("close", columns);
        let text = text.replace("1.7", "1.7,5,000");
        assert_file_refused(
            name,
            &text,
            if name == "volume" { 2 } else { 4 },
            "cells",
            "",
        );
    }
}

#[test]
fn a_row_with_fewer_cells_than_the_header_is_refused() {
    let text = |row| {
        let text = GOOD
            .replace("close", "close,volume")
            .replace(",1.5\n", ",1.5,7\n");
        text.replace(",1.6\n", ",1.6,7\n")
            .replace("1.0,2.0,0.5,1.7", row)
    };
    assert_eq!(
        json(&["--json", "--csv", &file("whole", &text("1.0,2.0,0.5,1.7,"))])["bars"],
        5
    );
    // A cell is missing at the end, or before it.
    for row in ["1.0,2.0,0.5,1.7", "2.0,0.5,1.7,7"] {
        assert_file_refused(
            "fewer",
            &text(row),
            4,
            "5 cells, and the header has 6",
            "empty",
        );
    }
}

#[test]
fn empty_cells_at_the_end_are_no_cells() {
    let run = |name: &str, text: &str| {
        let path = file(name, text);
        json(&["--json", "--fast", "1", "--slow", "2", "--csv", &path])
    };
    let plain = run("no-commas", GOOD);
    assert_eq!(run("commas", &GOOD.replace('\n', ", ,,\n")), plain);
    assert_eq!(run("row", &GOOD.replace("1.7", "1.7,,\"\"")), plain);
    assert_eq!(run("head", &GOOD.replace("close", "close,,")), plain);
}

#[test]
fn a_quoted_number_with_commas_is_refused() {
    let text = GOOD.replace("1.7", "\"1,455.22\"");
    assert_file_refused(
        "quoted",
        &text,
        4,
        "close \"1,455.22\" is not a price",
        "write",
    );
}

#[test]
fn a_high_below_the_low_is_refused() {
    let text = GOOD.replace("2.0,0.5,1.7", "0.5,2.0,1.7");
    assert_file_refused(
        "swapped",
        &text,
        4,
        "high 0.5 is below low 2",
        "correct the bar",
    );
    // Also where open and close are one of the two.
    let text = GOOD.replace("1.0,2.0,0.5,1.7", "1,1,2,2");
    assert_file_refused(
        "inverse",
        &text,
        4,
        "high 1 is below low 2",
        "correct the bar",
    );
}

#[test]
fn an_open_or_close_outside_low_to_high_is_refused() {
    for (name, row, problem) in [
        (
            "open-above",
            "2.1,2.0,0.5,1.7",
            "open 2.1 is outside low 0.5 to high 2",
        ),
        (
            "open-below",
            "0.4,2.0,0.5,1.7",
            "open 0.4 is outside low 0.5 to high 2",
        ),
        (
            "close-above",
            "1.0,2.0,0.5,2.000001",
            "close 2.000001 is outside low 0.5 to high 2",
        ),
        (
            "close-below",
            "1.0,2.0,0.5,0.499999",
            "close 0.499999 is outside low 0.5 to high 2",
        ),
    ] {
        let text = GOOD.replace("1.0,2.0,0.5,1.7", row);
        assert_file_refused(name, &text, 4, problem, "correct the bar");
    }
}

#[test]
fn a_bar_may_begin_and_end_at_its_low_and_high() {
    for (name, row) in [
        ("rise", "0.5,2.0,0.5,2.0"),
        ("fall", "2.0,2.0,0.5,0.5"),
        ("flat", "1.7,1.7,1.7,1.7"),
    ] {
        let text = GOOD.replace("1.0,2.0,0.5,1.7", row);
        assert_eq!(json(&["--json", "--csv", &file(name, &text)])["bars"], 5);
    }
}
