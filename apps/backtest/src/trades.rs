//! The closed trades as CSV.

use trading::{bars::Bar, messages::TradeClosed};

use crate::output::{Output, Written};

const COLUMNS: [&str; 8] = [
    "size",
    "entry_bar",
    "exit_bar",
    "entry_time",
    "exit_time",
    "entry_price",
    "exit_price",
    "pnl",
];

/// One row for each trade. Numbers are written with all digits, so they are read back unchanged.
pub fn write(output: Output, trades: &[TradeClosed], bars: &[Bar]) -> Result<Written, String> {
    let row = |trade: &TradeClosed| {
        [
            trade.size.to_string(),
            trade.entry_bar.to_string(),
            trade.exit_bar.to_string(),
            bars[trade.entry_bar].time.to_string(),
            bars[trade.exit_bar].time.to_string(),
            trade.entry_price.to_string(),
            trade.exit_price.to_string(),
            trade.pnl.to_string(),
        ]
    };
    output.write_csv(COLUMNS, trades.iter().map(row))
}
