//! The Sharpe ratio.

use crate::messages::EquityMarked;

/// Trading days in a year.
const YEAR: f64 = 252.0;

/// Annual return over annual volatility, both from daily returns.
///
/// With the geometric mean `g` of the returns and their variance `v`, the return is `(1+g)^252 - 1`, and
/// the volatility is `sqrt((v + (1+g)^2)^252 - (1+g)^504)`. Both are computed from logarithms, because
/// `1+g` loses the digits of a small `g`, and powers overflow.
///
/// `None` where it has no value: fewer than two returns, no movement, or an account at or below zero.
pub fn sharpe(marks: &[EquityMarked]) -> Option<f64> {
    let days: Vec<&EquityMarked> = marks
        .chunk_by(|a, b| a.day == b.day)
        .filter_map(<[_]>::last)
        .collect();
    if days.len() < 3 || days.iter().any(|day| day.equity <= 0.0) {
        return None;
    }
    let growth = |from: &EquityMarked, to: &EquityMarked| (to.pnl - from.pnl) / from.equity;
    let returns: Vec<f64> = days
        .windows(2)
        .map(|pair| growth(pair[0], pair[1]))
        .collect();
    let deviation = deviation(&returns).filter(|deviation| *deviation != 0.0)?;

    // The logarithm of 1+g, by the growth of the whole run.
    let mean = growth(days[0], days[days.len() - 1]).ln_1p() / returns.len() as f64;
    let annual = YEAR * mean;
    // Return and volatility are divided by (1+g)^252, and then by the exponential of `scale`:
    // the larger of the two factors that could overflow.
    let relative = deviation / mean.exp();
    let scale = YEAR / 2.0 * (relative * relative).ln_1p();
    let volatility = if relative < 1e-10 {
        // The square would lose digits, and vanish.
        YEAR.sqrt() * relative
    } else {
        (-(-2.0 * scale).exp_m1()).sqrt()
    };
    let size = -(-annual.abs()).exp_m1();
    Some(size.copysign(annual) * ((-annual).max(0.0) - scale).exp() / volatility)
}

/// The sample standard deviation; `None` if all numbers are zero.
fn deviation(numbers: &[f64]) -> Option<f64> {
    let largest = numbers
        .iter()
        .fold(0.0, |most: f64, number| most.max(number.abs()));
    if largest == 0.0 {
        return None;
    }
    // The squares of fractions of the largest cannot overflow, or vanish.
    let fractions = || numbers.iter().map(|number| number / largest);
    let count = numbers.len() as f64;
    let mean = fractions().sum::<f64>() / count;
    let squares = fractions()
        .map(|fraction| (fraction - mean).powi(2))
        .sum::<f64>();
    Some((squares / (count - 1.0)).sqrt() * largest)
}
