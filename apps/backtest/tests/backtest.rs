//! The reference backtest agrees with an independent tool, and refuses bad input in one line.

mod support;

use std::fs;

use serde_json::Value;
use support::{GOOD, assert_refused, file, json, output, program, stdout};

const ORACLE: &str = include_str!("../data/oracle_sp500.json");

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
fn numbers_without_a_meaning_are_null() {
    let report = json(&["--json", "--csv", &file("few", GOOD)]);
    assert_eq!(report["closed_trades"], 0);
    assert_eq!(report["win_rate_pct"], Value::Null);
    assert_eq!(report["sharpe"], Value::Null);
}

/// The rows of a CSV file, each cell with its column.
fn read_csv(path: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = csv::Reader::from_path(path).expect("the file was written");
    let header = reader.headers().expect("a header").clone();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("a row as long as the header");
        let cells = header.iter().zip(record.iter());
        cells
            .map(|(name, cell)| (name.into(), cell.into()))
            .collect()
    };
    reader.records().map(row).collect()
}

/// A cell as in JSON: a number, or `null` if it is empty.
fn value(row: &[(String, String)], column: &str) -> Value {
    let cell = row.iter().find(|(name, _)| name == column).expect(column);
    if cell.1.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&cell.1).expect("a number")
}

#[test]
fn trades_are_written_as_in_the_json() {
    let path = output("trades.csv");
    let report = json(&["--json", "--trades", &path]);
    let (rows, trades) = (
        read_csv(&path),
        report["trades"].as_array().expect("trades"),
    );
    assert_eq!(rows.len(), 256);
    for (row, trade) in rows.iter().zip(trades) {
        for (column, expected) in trade.as_object().expect("a trade") {
            let (ours, theirs) = (value(row, column).as_f64(), expected.as_f64());
            assert_eq!(ours, theirs, "{column}");
        }
    }
    let text = |row: &[(String, String)], column: &str| {
        let cell = row.iter().find(|(name, _)| name == column);
        cell.expect(column).1.clone()
    };
    assert_eq!(text(&rows[0], "entry_time"), "2000-02-16");
    assert_eq!(text(&rows[0], "exit_time"), "2000-02-22");
}

/// All text of an SVG file, which must be well-formed XML.
fn svg_texts(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the picture was written");
    let document = roxmltree::Document::parse(&text).expect("SVG is XML");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts
        .map(|node| node.text().unwrap_or_default().trim().to_owned())
        .collect()
}

#[track_caller]
fn assert_svg_says(path: &str, labels: &[&str]) {
    let texts = svg_texts(path);
    for label in labels {
        assert!(
            texts.iter().any(|text| text == label),
            "no {label:?} in {texts:?}"
        );
    }
}

/// The width of the PNG, and the number of non-white pixels in its first rows, where the title is.
fn png_title(path: &str) -> (u32, usize) {
    let file = fs::File::open(path).expect("the picture was written");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .expect("the file is a PNG");
    let size = reader
        .output_buffer_size()
        .expect("a picture fits in memory");
    let mut pixels = vec![0; size];
    let info = reader
        .next_frame(&mut pixels)
        .expect("the PNG has a picture");
    let rows = pixels.chunks(info.line_size).take(40);
    let ink = rows
        .flat_map(|row| row.chunks(3))
        .filter(|pixel| *pixel != [255; 3]);
    (info.width, ink.count())
}

#[test]
fn a_plot_shows_price_equity_and_drawdown_over_dates() {
    let path = output("plot.svg");
    let plain = json(&["--json"]);
    assert_eq!(json(&["--json", "--plot", &path]), plain);
    assert_svg_says(
        &path,
        &[
            "SMA 10/20: 5105 bars from 2000-01-03 to 2020-04-17, 256 trades",
            "Price",
            "Equity",
            "Drawdown, %",
            "Date",
            "2002",
            "2020",
            "trade that won",
            "trade that lost",
            "long entry",
            "short entry",
        ],
    );
}

#[test]
fn a_plot_as_png_has_text_without_any_font_of_the_machine() {
    let path = output("plot.png");
    let status = program()
        .args(["--plot", &path])
        .env("FONTCONFIG_FILE", "/nowhere")
        .env("HOME", "/nowhere")
        .status()
        .expect("the program starts");
    assert!(status.success());
    let (width, ink) = png_title(&path);
    assert_eq!(width, 1200);
    assert!(ink > 1_000, "{ink} pixels");
}

#[test]
fn a_plot_of_a_few_minutes_has_times_on_its_axis() {
    let (path, mut text) = (
        output("minutes.svg"),
        String::from("date,open,high,low,close\n"),
    );
    for minute in 0..10 {
        text += &format!("2020-01-02T09:{minute:02}:00Z,1,2,1,1.{minute}\n");
    }
    stdout(&["--csv", &file("minutes", &text), "--plot", &path]);
    assert_svg_says(&path, &["09:00", "09:09"]);
}

#[test]
fn a_sweep_writes_each_pair_with_fast_below_slow() {
    let (cells, plot) = (output("cells.csv"), output("cells.svg"));
    let report = stdout(&[
        "sweep",
        "--fast",
        "10..30:10",
        "--slow",
        "20..=30:5",
        "--cells",
        &cells,
        "--plot",
        &plot,
    ]);
    let rows = read_csv(&cells);
    let pairs: Vec<_> = rows
        .iter()
        .map(|row| [value(row, "fast"), value(row, "slow")].map(|length| length.as_u64()))
        .collect();
    let expected = [(10, 20), (10, 25), (20, 25), (10, 30), (20, 30)];
    assert_eq!(pairs, expected.map(|(fast, slow)| [Some(fast), Some(slow)]));
    assert!(report.contains("cells run         5\n"), "{report}");
    assert!(report.contains("skipped           4 "), "{report}");
    assert_svg_says(
        &plot,
        &[
            "Fast average, closes",
            "Slow average, closes",
            "Sharpe ratio",
            "10",
            "25",
        ],
    );

    let single = json(&["--json"]);
    for column in [
        "equity_final",
        "equity_peak",
        "max_drawdown_pct",
        "closed_trades",
        "win_rate_pct",
        "sharpe",
    ] {
        assert_eq!(
            value(&rows[0], column).as_f64(),
            single[column].as_f64(),
            "{column}"
        );
    }
}

#[test]
fn a_sweep_takes_every_length_of_a_range_and_both_its_ends() {
    let (cells, plot) = (output("ends.csv"), output("ends.png"));
    let arguments = [
        "sweep",
        "--cells",
        &cells,
        "--plot",
        &plot,
        "--csv",
        &file("five", GOOD),
    ];
    stdout(&[&arguments[..], &["--fast", "1..2", "--slow", "3..5"]].concat());
    let rows = read_csv(&cells);
    assert_eq!(rows.len(), 6);
    // Five bars are too few for trades, so the rate has no value.
    assert_eq!(value(&rows[5], "slow"), 5);
    assert_eq!(value(&rows[5], "win_rate_pct"), Value::Null);
    assert_eq!(png_title(&plot).0, 900);
}

#[test]
fn throughput_runs_all_variants_to_one_state_without_allocating() {
    let report = json(&["throughput", "--ticks", "20000", "--json"]);
    assert_eq!(report["ticks"], 20_000);
    let hash = &report["variants"][0]["state_hash"];
    assert_eq!(hash.as_str().expect("a hash").len(), 16);
    for path in ["variants", "acyclic"] {
        let variants = report[path].as_array().expect(path);
        let names: Vec<_> = variants.iter().map(|variant| &variant["name"]).collect();
        assert_eq!(names, ["handwritten", "static-bus"]);
        for variant in variants {
            assert_eq!(&variant["state_hash"], hash, "{variant}");
            assert_eq!(variant["allocations"], 0, "{variant}");
            for number in [
                "ns_per_tick",
                "ratio",
                "events_per_second",
                "p50_ns",
                "p99_9_ns",
            ] {
                assert!(variant[number].as_f64().expect(number) > 0.0, "{number}");
            }
        }
        assert_eq!(variants[0]["ratio"], 1.0);
    }
    for variant in ["acyclic_timed", "replayed"].map(|name| &report[name]) {
        assert_eq!(&variant["state_hash"], hash, "{variant}");
        assert_eq!(variant["allocations"], 0, "{variant}");
    }
    // Each tick makes seven to nine messages.
    let messages = report["messages"].as_u64().expect("messages");
    assert!((140_001..180_000).contains(&messages), "{messages}");
}

#[test]
fn throughput_reports_the_time_of_each_handler() {
    let report = json(&["throughput", "--ticks", "20000", "--json"]);
    let handlers = report["handlers"].as_array().expect("handlers");
    assert_eq!(handlers.len(), 12);
    let count = |message: &str| -> u64 {
        let of = |handler: &&Value| {
            let name = handler["message"].as_str().expect("a name");
            name.ends_with(message)
        };
        let counts = handlers.iter().filter(of).map(|it| it["count"].as_u64());
        counts.map(|count| count.expect("a count")).sum()
    };
    // Three subscribers of each tick, and one of each equity that the portfolio marks.
    assert_eq!(count("::Tick"), 60_000);
    assert_eq!(count("::EquityMarked"), 20_000);
    let share: f64 = handlers.iter().filter_map(|it| it["share"].as_f64()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");

    let text = stdout(&["throughput", "--ticks", "1000"]);
    for line in [
        "with `Timed`",
        "kind     message",
        "query    GetSpread     &Indicators",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn throughput_depends_on_its_seed_and_on_nothing_else() {
    let state = |seed: &str| {
        let report = json(&["throughput", "--ticks", "3000", "--json", "--seed", seed]);
        report["variants"][1]["state_hash"].clone()
    };
    assert_eq!(state("1"), state("1"));
    assert_ne!(state("1"), state("2"));
    let report = stdout(&["throughput", "--ticks", "1"]);
    assert!(report.contains("1 ticks of 4 symbols, seed 7"), "{report}");
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
fn a_range_that_is_none_is_refused() {
    for (range, problem) in [
        ("5..3", "5 is above 3, write 3..5"),
        ("0..3", "0 closes has no value, begin at 1"),
        ("1..9:0", "a step of 0 leads nowhere"),
        (
            "1..x",
            "\"x\" is not a whole number, write a range as in 10..50",
        ),
        ("..9", "is not a whole number"),
    ] {
        assert_refused(
            &["sweep", "--fast", range, "--slow", "10..20"],
            &["--fast", range, problem, "see --help"],
        );
    }
    assert_refused(&["sweep", "--fast", "1..3"], &["required", "see --help"]);
}

#[test]
fn a_grid_without_a_pair_or_with_too_many_is_refused() {
    assert_refused(
        &["sweep", "--fast", "20..30", "--slow", "5..20"],
        &["--fast 20..30", "--slow 5..20", "give a smaller --fast"],
    );
    assert_refused(
        &["sweep", "--fast", "1..1000", "--slow", "1..1000"],
        &["1000000 cells", "the most is 100000", "give a step"],
    );
}

#[test]
fn a_picture_of_unknown_format_is_refused() {
    for name in ["chart.gif", "chart"] {
        assert_refused(
            &["--plot", name],
            &["--plot", name, "end it in .svg or .png"],
        );
    }
    let sweep = [
        "sweep",
        "--fast",
        "1..2",
        "--slow",
        "3",
        "--cells",
        &output("gif.csv"),
    ];
    assert_refused(
        &[&sweep[..], &["--plot", "map.gif"]].concat(),
        &["--plot map.gif", "end it in .svg or .png"],
    );
}

#[test]
fn a_file_that_cannot_be_written_is_refused() {
    for (option, path) in [
        ("--plot", "no/such/plot.svg"),
        ("--trades", "no/such/trades.csv"),
    ] {
        assert_refused(
            &[option, path],
            &[
                path,
                "cannot be written",
                "name a file in a folder that exists",
                option,
            ],
        );
    }
    assert_refused(
        &[
            "sweep",
            "--fast",
            "1",
            "--slow",
            "2",
            "--cells",
            "no/such/cells.csv",
        ],
        &["no/such/cells.csv", "cannot be written", "with --cells"],
    );
}

#[test]
fn throughput_without_ticks_is_refused() {
    assert_refused(
        &["throughput", "--ticks", "0"],
        &["--ticks 0", "give at least 1"],
    );
    assert_refused(
        &["--fast", "3", "throughput"],
        &["throughput", "see --help"],
    );
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
        "--plot",
        "--trades",
        "throughput",
        "sweep",
    ] {
        assert!(help.contains(option), "no {option} in\n{help}");
    }
}
