//! No figure overflows: amounts that could make one are refused.

mod support;

use std::fs;

use serde_json::Value;
use support::{
    assert_refused, file, json,
    model::{DAY, Random},
    output, stdout,
};

#[test]
fn an_amount_that_could_overflow_is_refused() {
    for option in ["--size", "--cash"] {
        for value in [
            "1e60", "1e200", "1e308", "1e309", "9e-61", "1e-308", "1e-400",
        ] {
            let says = [option, "give a finite, positive number from 1e-60 to 1e60"];
            for options in [&[option, value][..], &[option, value, "--json"]] {
                assert_refused(options, &says);
            }
            let (cells, plot) = (output("overflow.csv"), output("overflow.svg"));
            assert_refused(
                &[
                    "sweep", "--fast", "2", "--slow", "3..4", "--cells", &cells, "--plot", &plot,
                    option, value,
                ],
                &says,
            );
        }
    }
}

/// Bars of many trades, around this price.
fn bars(name: &str, exponent: i32) -> String {
    let mut random = Random(1);
    let mut text = String::from("date,open,high,low,close\n");
    for day in 0..80 {
        let price = random.within(500, 999);
        let time = 1_000_000_000 + DAY * day;
        text += &format!(
            "{time},{price}e{exponent},999e{exponent},500e{exponent},{price}e{exponent}\n"
        );
    }
    file(name, &text)
}

#[test]
fn no_figure_overflows_or_is_missing_at_the_largest_and_smallest_amounts() {
    let mut ratios = 0;
    for exponent in [-62, -30, 0, 30, 57] {
        let csv = bars("amounts", exponent);
        for size in ["1e-60", "1e-30", "1", "1e30", "9e59"] {
            for cash in ["1e-60", "1e-30", "1", "1e30", "9e59"] {
                for commission in ["0", "0.002", "0.999"] {
                    let options = [
                        "--csv",
                        &csv,
                        "--fast",
                        "2",
                        "--slow",
                        "3",
                        "--size",
                        size,
                        "--cash",
                        cash,
                        "--commission",
                        commission,
                    ];
                    let report = json(&[&options[..], &["--json"]].concat());
                    let what = format!("{options:?}: {report}");
                    for name in ["equity_final", "equity_peak", "max_drawdown_pct"] {
                        assert!(report[name].is_number(), "{name}: {what}");
                    }
                    for trade in report["trades"].as_array().expect("trades") {
                        let mut fields = trade.as_object().expect("a trade").values();
                        assert!(fields.all(Value::is_number), "{what}");
                    }
                    // An account that was at or below zero has no ratio.
                    if report["max_drawdown_pct"].as_f64() > Some(-100.0) {
                        assert!(report["sharpe"].is_number(), "{what}");
                        ratios += 1;
                    }
                }
            }
        }
    }
    assert!(ratios > 100, "{ratios} runs with a ratio");
}

#[test]
fn no_figure_of_a_picture_or_a_text_overflows_at_the_largest_and_smallest_amounts() {
    for exponent in [-62, 57] {
        let (csv, plot) = (bars("picture", exponent), output("picture.svg"));
        for size in ["1e-60", "9e59"] {
            for cash in ["1e-60", "9e59"] {
                let options = [
                    "--csv", &csv, "--fast", "2", "--slow", "3", "--size", size, "--cash", cash,
                ];
                let report = stdout(&[&options[..], &["--plot", &plot]].concat());
                let picture = fs::read_to_string(&plot).expect("the plot was written");
                for text in [report, picture] {
                    for part in ["NaN", "inf"] {
                        assert!(!text.contains(part), "{options:?}: {part} in {text}");
                    }
                }
            }
        }
    }
}
