//! The Sharpe ratio and the drawdown keep their digits, whatever the size of the returns.

mod support;

use dashu_float::{FBig, round::mode::HalfEven};
use serde_json::Value;
use support::{
    file, json,
    model::{DAY, Random, Series, pnls},
};

type Number = FBig<HalfEven, 2>;

const SP500: &str = include_str!("../../trading/data/sp500-2000.csv");
const LENGTHS: [(usize, usize); 3] = [(2, 5), (10, 20), (50, 200)];
const SIZES: [&str; 9] = [
    "0.0001", "0.0003", "0.01", "1", "10", "333.3", "10000", "1e5", "1e6",
];

/// The Sharpe ratio and the maximum drawdown, to hundreds of bits.
struct Exact {
    sharpe: Option<f64>,
    max_drawdown_pct: f64,
}

/// The formulas as they are published, for amounts in thousandths of a tick and for one unit.
///
/// `None` for an account that is at or below zero on some day.
fn exact(series: &Series, pnls: &[i128], size: &str, cash: &str, bits: usize) -> Option<Exact> {
    let number = |value: i128| Number::from(value).with_precision(bits).value();
    let given = |text: &str| {
        let value: f64 = text.parse().expect("a number");
        let value = Number::try_from(value).expect("a finite number");
        value.with_precision(bits).value()
    };
    let unit = given(size) / number(1_000 * 10_i128.pow(series.decimals as u32));
    let cash = given(cash);
    let equities: Vec<Number> = pnls
        .iter()
        .map(|pnl| &cash + number(*pnl) * &unit)
        .collect();
    if equities.iter().any(|equity| *equity <= number(0)) {
        return None;
    }

    let mut peak = &equities[0];
    let mut drawdown = number(0);
    for equity in &equities {
        peak = peak.max(equity);
        drawdown = drawdown.min((equity / peak - number(1)) * number(100));
    }

    let growths: Vec<Number> = equities
        .windows(2)
        .map(|pair| &pair[1] / &pair[0])
        .collect();
    let count = number(growths.len() as i128);
    let mean = sum(&growths, number(0)) / &count;
    let squares: Vec<Number> = growths
        .iter()
        .map(|growth| (growth - &mean).sqr())
        .collect();
    let variance = sum(&squares, number(0)) / (&count - number(1));
    let total = &equities[equities.len() - 1] / &equities[0];
    let growth = (total.ln() / &count).exp();
    let year = |number: Number| number.powi(252.into());
    let annual = year(growth.clone()) - number(1);
    let volatility = (year(variance + growth.sqr()) - year(growth.sqr())).sqrt();
    let sharpe = (volatility > number(0)).then(|| (annual / volatility).to_f64().value());
    Some(Exact {
        sharpe,
        max_drawdown_pct: drawdown.to_f64().value(),
    })
}

fn sum(numbers: &[Number], zero: Number) -> Number {
    numbers.iter().fold(zero, |sum, number| sum + number)
}

fn run(csv: &str, (fast, slow): (usize, usize), size: &str, cash: &str) -> Value {
    json(&[
        "--json",
        "--csv",
        csv,
        "--fast",
        &fast.to_string(),
        "--slow",
        &slow.to_string(),
        "--size",
        size,
        "--cash",
        cash,
    ])
}

#[track_caller]
fn assert_close(what: &str, ours: &Value, exact: f64) {
    let ours = ours
        .as_f64()
        .unwrap_or_else(|| panic!("{what}: null here, {exact} exactly"));
    let error = (ours - exact).abs() / exact.abs();
    assert!(
        error <= 1e-9,
        "{what}: {ours} here, {exact} exactly: {error:.0e} off"
    );
}

/// All sizes with all lengths, as far as the account of an exact run lives. Returns the number of runs.
#[track_caller]
fn assert_all_exact(name: &str, series: &Series, cash: &str) -> usize {
    let csv = file(name, &series.csv());
    let mut runs = 0;
    for lengths in LENGTHS {
        let pnls = pnls(series, &series.positions(lengths.0, lengths.1));
        for size in SIZES {
            let what = format!("{name} {lengths:?} --size {size} --cash {cash}");
            let ours = run(&csv, lengths, size, cash);
            let Some(exact) = exact(series, &pnls, size, cash, 256) else {
                assert_eq!(ours["sharpe"], Value::Null, "{what}: a ruined account");
                continue;
            };
            let sharpe = exact.sharpe.expect("the equity moves");
            assert_close(&format!("{what}: Sharpe"), &ours["sharpe"], sharpe);
            // The model marks days, so its drawdown is the same only for bars of a day.
            if series.interval == DAY {
                let drawdown = &ours["max_drawdown_pct"];
                assert_close(
                    &format!("{what}: drawdown"),
                    drawdown,
                    exact.max_drawdown_pct,
                );
            }
            runs += 1;
        }
    }
    runs
}

/// A random walk of up to `step` ticks from bar to bar, with gaps from close to open.
fn walk(
    seed: u64,
    decimals: usize,
    interval: usize,
    start: i128,
    step: i128,
    bars: usize,
) -> Series {
    let mut random = Random(seed);
    let mut close = start;
    let mut bar = || {
        let open = (close + random.within(-step / 8, step / 8)).max(1);
        close = (open + random.within(-step, step)).max(1);
        (open, close)
    };
    Series {
        decimals,
        interval,
        bars: (0..bars).map(|_| bar()).collect(),
    }
}

#[test]
fn the_sp500_has_an_exact_sharpe_ratio_at_every_size() {
    let series = Series::of_csv(6, SP500);
    assert!(assert_all_exact("sp500", &series, "1000000") >= 15);
    // With enough cash for the largest size.
    assert_eq!(assert_all_exact("sp500", &series, "1e11"), 27);
}

#[test]
fn a_currency_has_an_exact_sharpe_ratio_at_every_size() {
    // As EUR/USD: days of up to 150 points at 1.1.
    let series = walk(1, 5, DAY, 110_000, 1_500, 1_500);
    assert!(assert_all_exact("currency", &series, "1000000") >= 20);
    assert_eq!(assert_all_exact("currency", &series, "1e9"), 27);
}

#[test]
fn bars_of_a_minute_have_an_exact_sharpe_ratio_at_every_size() {
    let series = walk(2, 2, 60, 5_000, 3, 6_000);
    assert!(assert_all_exact("minutes", &series, "1000000") >= 12);
    assert_eq!(assert_all_exact("minutes", &series, "1e12"), 27);
}

#[test]
fn returns_of_a_multiple_have_an_exact_sharpe_ratio() {
    // A price that grows a thousandfold and falls again, all of the cash in one position.
    let closes = [
        50, 51, 49, 52, 300, 9_000, 70_000, 60_000, 50_000, 700, 90, 60, 80,
    ];
    let mut series = Series::of_closes(2, closes);
    series.interval = DAY;
    let csv = file("multiple", &series.csv());
    let lengths = (1, 2);
    let pnls = pnls(&series, &series.positions(lengths.0, lengths.1));
    for size in ["0.001", "0.1", "1", "2", "3"] {
        let exact = exact(&series, &pnls, size, "1.5", 512).expect("the account lives");
        let ours = run(&csv, lengths, size, "1.5");
        assert_close(
            size,
            &ours["sharpe"],
            exact.sharpe.expect("the equity moves"),
        );
        assert_close(size, &ours["max_drawdown_pct"], exact.max_drawdown_pct);
    }
}

#[test]
fn the_smallest_sizes_have_an_exact_sharpe_ratio() {
    let series = walk(3, 2, DAY, 10_000, 200, 300);
    let (csv, lengths) = (file("smallest", &series.csv()), (10, 20));
    let pnls = pnls(&series, &series.positions(lengths.0, lengths.1));
    for (size, cash) in [
        ("1e-20", "1000000"),
        ("1e-59", "1000000"),
        ("1e-59", "1e-50"),
        ("1e-59", "1e59"),
    ] {
        let exact = exact(&series, &pnls, size, cash, 1_200).expect("the account lives");
        let ours = run(&csv, lengths, size, cash);
        let what = format!("--size {size} --cash {cash}");
        assert_close(
            &what,
            &ours["sharpe"],
            exact.sharpe.expect("the equity moves"),
        );
        assert_close(&what, &ours["max_drawdown_pct"], exact.max_drawdown_pct);
    }
}

#[test]
fn the_sharpe_ratio_is_null_only_where_nothing_moved() {
    let flat = Series {
        interval: DAY,
        ..Series::of_closes(1, [10; 50])
    };
    let rise = Series {
        interval: DAY,
        ..Series::of_closes(1, 10..60)
    };
    // An equity moves with its first commission.
    let mut closes = vec![10; 48];
    closes.extend([9, 11, 11]);
    let once = Series {
        interval: DAY,
        ..Series::of_closes(1, closes)
    };
    for (name, series, moved) in [
        ("flat", &flat, false),
        ("rise", &rise, false),
        ("once", &once, true),
    ] {
        let csv = file(name, &series.csv());
        for size in SIZES {
            let report = run(&csv, (1, 2), size, "1e9");
            assert_eq!(
                report["sharpe"].is_number(),
                moved,
                "{name} {size}: {report}"
            );
        }
    }
}
