//! The modules of a moving-average strategy. They depend on [`messages`] only, so a backtest and a live
//! run differ in their wiring alone.

pub mod bars;
pub mod exchange;
pub mod indicators;
pub mod messages;
pub mod metrics;
pub mod portfolio;
pub mod risk;
mod sharpe;
pub mod strategy;

use std::path::Path;

/// The parameters of a run.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Closes in the fast moving average.
    pub fast: usize,
    /// Closes in the slow moving average; more than in the fast one.
    pub slow: usize,
    /// Units in each position.
    pub size: f64,
    /// Cash at the start.
    pub cash: f64,
    /// Commission on every fill, as a fraction of its value.
    pub commission: f64,
}

impl Settings {
    pub const DEFAULT: Self = Self {
        fast: 10,
        slow: 20,
        size: 10.0,
        cash: 1_000_000.0,
        commission: 0.002,
    };
}

/// A path for an error message. Line breaks are escaped, because an error is one line.
pub fn one_line(path: &Path) -> String {
    path.display().to_string().replace(['\n', '\r'], "?")
}
