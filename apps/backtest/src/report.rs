//! The report of an outcome, as text and as JSON.

use serde_json::json;
use trading::Settings;

use crate::app::Outcome;

/// A label and its value; both empty for a blank line.
type Row = (String, String);

/// One JSON object, on one line. A missing value (a win rate without trades) is `null`.
pub fn json(outcome: &Outcome) -> String {
    let figures = &outcome.performance.figures;
    let trades: Vec<_> = outcome
        .performance
        .trades
        .iter()
        .map(|trade| {
            json!({
                "size": trade.size,
                "entry_bar": trade.entry_bar,
                "exit_bar": trade.exit_bar,
                "entry_price": trade.entry_price,
                "exit_price": trade.exit_price,
                "pnl": trade.pnl,
            })
        })
        .collect();
    json!({
        "bars": outcome.bars,
        "equity_final": figures.equity_final,
        "equity_peak": figures.equity_peak,
        "max_drawdown_pct": figures.max_drawdown_pct,
        "closed_trades": figures.closed_trades,
        "win_rate_pct": figures.win_rate_pct,
        "sharpe": figures.sharpe,
        "trades": trades,
    })
    .to_string()
}

/// The report, in lines of at most 40 columns. An "event" in its rates is a message of any kind.
pub fn text(outcome: &Outcome, settings: &Settings) -> String {
    let figures = &outcome.performance.figures;
    let sent: u64 = outcome.messages.iter().map(|(_, _, count)| count).sum();
    let seconds = outcome.elapsed.as_secs_f64();
    let or_dash = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}{unit}"))
    };

    let mut rows = vec![
        ("bars".to_owned(), outcome.bars.to_string()),
        (
            "closed trades".to_owned(),
            figures.closed_trades.to_string(),
        ),
        ("win rate".to_owned(), or_dash(figures.win_rate_pct, " %")),
        (
            "final equity".to_owned(),
            format!("{:.2}", figures.equity_final),
        ),
        (
            "peak equity".to_owned(),
            format!("{:.2}", figures.equity_peak),
        ),
        ("PnL".to_owned(), format!("{:.2}", figures.pnl)),
        ("fees".to_owned(), format!("{:.2}", figures.fees)),
        (
            "maximum drawdown".to_owned(),
            format!("{:.2} %", figures.max_drawdown_pct),
        ),
        ("Sharpe".to_owned(), or_dash(figures.sharpe, "")),
        Row::default(),
    ];
    for (kind, name, count) in &outcome.messages {
        rows.push((format!("{kind:<9}{name}"), count.to_string()));
    }
    rows.extend([
        ("all messages".to_owned(), sent.to_string()),
        Row::default(),
        (
            "events per second".to_owned(),
            format!("{:.0}", sent as f64 / seconds),
        ),
        (
            "ns per event".to_owned(),
            format!("{:.1}", seconds * 1e9 / sent as f64),
        ),
    ]);

    let lines = rows
        .iter()
        .map(|(label, value)| format!("{label:<24}{value:>16}"));
    let page: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    format!(
        "SMA {}/{}\n\n{}",
        settings.fast,
        settings.slow,
        page.join("\n")
    )
}
