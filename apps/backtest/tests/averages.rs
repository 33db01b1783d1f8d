//! The averages cross where they do in exact arithmetic, and nowhere else.

mod support;

use std::cmp::Ordering;

use serde_json::Value;
use support::{
    file, json,
    model::{Random, Series},
};

const LENGTHS: [(usize, usize); 6] = [(1, 2), (2, 3), (3, 7), (5, 20), (10, 30), (50, 200)];

/// The bars and the direction of each closed trade.
type Trade = (usize, usize, i128);

fn trades(name: &str, series: &Series, fast: usize, slow: usize) -> Vec<Trade> {
    let report = json(&[
        "--json",
        "--cash",
        "1e30",
        "--size",
        "1",
        "--csv",
        &file(name, &series.csv()),
        "--fast",
        &fast.to_string(),
        "--slow",
        &slow.to_string(),
    ]);
    let bar = |trade: &Value, name: &str| trade[name].as_u64().expect(name) as usize;
    let trades = report["trades"].as_array().expect("trades");
    trades
        .iter()
        .map(|trade| {
            let size = trade["size"].as_f64().expect("size") as i128;
            (bar(trade, "entry_bar"), bar(trade, "exit_bar"), size)
        })
        .collect()
}

/// The model makes the same trades. Returns their number, and that of equal averages.
#[track_caller]
fn assert_exact(name: &str, series: &Series, fast: usize, slow: usize) -> (usize, usize) {
    let expected: Vec<Trade> = series
        .positions(fast, slow)
        .iter()
        .filter_map(|position| Some((position.entry_bar, position.exit_bar?, position.units)))
        .collect();
    let ours = trades(name, series, fast, slow);
    let mut pairs = ours.iter().zip(&expected);
    let differs = pairs.find(|(ours, expected)| ours != expected);
    assert_eq!(differs, None, "{name}: {fast}/{slow}");
    assert_eq!(ours.len(), expected.len(), "{name}: {fast}/{slow}");
    let orders = series.orders(fast, slow);
    let equal = orders.iter().filter(|order| **order == Ordering::Equal);
    (expected.len(), equal.count())
}

/// Each pair of lengths makes the same trades as the model, and there are many trades and equal averages.
#[track_caller]
fn assert_all_exact(name: &str, series: &[Series]) {
    let (mut trades, mut equal) = (0, 0);
    for series in series {
        for (fast, slow) in LENGTHS {
            let counts = assert_exact(name, series, fast, slow);
            trades += counts.0;
            equal += counts.1;
        }
    }
    assert!(trades > 500, "{trades} trades");
    assert!(equal > 500, "{equal} equal averages");
}

/// A random walk of steps up to this many ticks, not below one tick.
fn walk(random: &mut Random, start: i128, step: i128, bars: usize) -> Vec<i128> {
    let mut close = start;
    (0..bars)
        .map(|_| {
            close = (close + random.within(-step, step)).max(1);
            close
        })
        .collect()
}

#[test]
fn equal_windows_never_cross() {
    let mut closes = vec![1, 4, 9, 6];
    closes.extend([1; 12]);
    assert_exact("equal", &Series::of_closes(1, closes), 2, 3);

    // The same, for other levels before and after, and as long as a rounding error could last.
    let mut random = Random(1);
    for round in 0..24 {
        let levels = [random.within(1, 99), random.within(1, 999_999)];
        let mut closes: Vec<i128> = (0..210).map(|_| random.within(1, levels[1])).collect();
        closes.extend([levels[0]; 450]);
        let series = Series::of_closes(random.within(1, 6) as usize, closes);
        let (fast, slow) = LENGTHS[round % LENGTHS.len()];
        let (_, equal) = assert_exact("level", &series, fast, slow);
        assert!(equal >= 450 - slow, "{equal} equal averages");
    }
}

#[test]
fn a_few_levels_cross_as_in_exact_arithmetic() {
    let series: Vec<_> = (0..8)
        .map(|seed| {
            let mut random = Random(seed);
            let levels = 2 + seed as i128;
            let base = random.within(1, 2_000);
            let closes: Vec<_> = (0..700).map(|_| base + random.below(levels)).collect();
            Series::of_closes(1 + seed as usize % 5, closes)
        })
        .collect();
    assert_all_exact("levels", &series);
}

#[test]
fn a_walk_with_a_tick_crosses_as_in_exact_arithmetic() {
    let series: Vec<_> = (0..8)
        .map(|seed| {
            let mut random = Random(100 + seed);
            let (start, step) = (random.within(50, 200_000), random.within(1, 4));
            Series::of_closes(1 + seed as usize % 5, walk(&mut random, start, step, 700))
        })
        .collect();
    assert_all_exact("walk", &series);
}

#[test]
fn a_long_series_crosses_as_in_exact_arithmetic() {
    let mut random = Random(200);
    let closes = walk(&mut random, 11_000, 2, 60_000);
    let series = Series::of_closes(4, closes);
    let (trades, equal) = assert_exact("long", &series, 10, 50);
    assert!(trades > 500 && equal > 50, "{trades} trades, {equal} equal");
    assert_exact("long", &series, 97, 1_009);
}

#[test]
fn large_prices_leave_no_trace_on_small_ones() {
    // The largest fall is deeper than a double has digits.
    let mut random = Random(300);
    let mut closes = Vec::new();
    for scale in [0, 18, 0, 9, 18, 9, 0] {
        closes.extend((0..450).map(|_| random.within(1, 9) * 10_i128.pow(scale)));
    }
    let mut trades = 0;
    for (fast, slow) in LENGTHS {
        trades += assert_exact("fall", &Series::of_closes(2, closes.clone()), fast, slow).0;
    }
    assert!(trades > 500, "{trades} trades");
}

#[test]
fn long_averages_of_one_price_are_equal() {
    // A plain sum of so many equal numbers is off by more than the tolerance.
    let mut closes = vec![2; 3];
    closes.extend(vec![1; 150_000]);
    closes.extend([1, 2, 1, 1, 1]);
    let report = json(&[
        "--json",
        "--csv",
        &file("one-price", &Series::of_closes(1, closes).csv()),
        "--fast",
        "70000",
        "--slow",
        "140000",
    ]);
    assert_eq!(report["closed_trades"], 0);
    assert_eq!(report["equity_final"], 1_000_000.0);
}
