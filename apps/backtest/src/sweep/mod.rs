//! A grid of fast and slow averages, each cell a backtest on a bus of its own, on all cores.

mod heat_map;
mod range;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use trading::{
    Settings,
    bars::{self, Bar},
    metrics::Figures,
};

use crate::{
    app,
    market::Market,
    output::{self, Files},
    picture::Picture,
};
use range::Range;

/// The maximum number of cells, more than a picture can show.
const MOST_CELLS: usize = 100_000;

const COLUMNS: [&str; 8] = [
    "fast",
    "slow",
    "equity_final",
    "equity_peak",
    "max_drawdown_pct",
    "closed_trades",
    "win_rate_pct",
    "sharpe",
];

/// Runs a grid of fast and slow averages on all cores, for a CSV of all cells and a heat map
///
/// A range is A..B or A..=B, and includes both ends; A..B:STEP takes every STEPth length. Pairs
/// whose fast average is not below the slow one are skipped.
#[derive(Args)]
pub struct Sweep {
    /// Closes in the fast moving average, as in 5..50 or 5..50:5
    #[arg(long, value_name = "A..B[:STEP]")]
    fast: Range,
    /// Closes in the slow moving average, as in 20..200 or 20..200:10
    #[arg(long, value_name = "C..D[:STEP]")]
    slow: Range,
    #[command(flatten)]
    market: Market,
    /// Where to write the cells, as CSV
    #[arg(long, value_name = "FILE", default_value = "sweep.csv")]
    cells: PathBuf,
    /// Where to draw the heat map, as FILE.svg or FILE.png
    #[arg(long, value_name = "FILE", default_value = "sweep.svg")]
    plot: PathBuf,
}

/// The result of a pair of averages.
struct Cell {
    fast: usize,
    slow: usize,
    figures: Figures,
}

impl Sweep {
    pub fn run(self) -> Result<String, String> {
        let grid = self.grid()?;
        let bars = bars::load(self.market.csv.as_deref())?;
        let mut files = Files::new(self.market.csv.as_deref());
        let table = files.create("--cells", &self.cells)?;
        let picture = Picture::create(&mut files, "--plot", &self.plot)?;

        let cells = run_all(&grid, &bars)?;
        let table = table.write_csv(COLUMNS, cells.iter().map(Cell::row))?;
        let picture = heat_map::write(picture, &self.fast, &self.slow, &cells)?;
        output::replace([table, picture])?;

        let skipped = self.fast.len() * self.slow.len() - cells.len();
        let mut lines = vec![
            format!("cells run         {}", cells.len()),
            format!("skipped           {skipped} (fast not below slow)"),
        ];
        if let Some((best, sharpe)) = best(&cells) {
            let Cell { fast, slow, .. } = best;
            lines.push(format!("best Sharpe       {sharpe:.2} at {fast}/{slow}"));
        }
        lines.push(format!("cells             {}", self.cells.display()));
        lines.push(format!("heat map          {}", self.plot.display()));
        Ok(lines.join("\n"))
    }

    /// The settings of all cells that can be run.
    fn grid(&self) -> Result<Vec<Settings>, String> {
        let (fast, slow) = (&self.fast, &self.slow);
        let size = fast.len().saturating_mul(slow.len());
        if size > MOST_CELLS {
            return Err(format!(
                "--fast {fast} and --slow {slow} make {size} cells, and the most is {MOST_CELLS}; \
                 give a step, as in 10..500:10"
            ));
        }
        let pairs = slow.iter().flat_map(|slow| {
            let below = fast.iter().filter(move |fast| *fast < slow);
            below.map(move |fast| (fast, slow))
        });
        let grid: Result<Vec<_>, _> = pairs
            .map(|(fast, slow)| self.market.settings(fast, slow))
            .collect();
        let grid = grid?;
        if grid.is_empty() {
            return Err(format!(
                "no length in --fast {fast} is below one in --slow {slow}; \
                 give a smaller --fast or a larger --slow"
            ));
        }
        Ok(grid)
    }
}

/// Runs each cell, with a progress bar on a terminal.
fn run_all(grid: &[Settings], bars: &[Bar]) -> Result<Vec<Cell>, String> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} cells, {eta} left");
    let progress =
        ProgressBar::new(grid.len() as u64).with_style(style.expect("the template is well-formed"));
    let cells = grid
        .par_iter()
        .map(|settings| {
            // Each thread builds a bus on its stack: only the bars are shared.
            let outcome = app::run(bars, settings).map_err(|stopped| stopped.to_string())?;
            progress.inc(1);
            Ok(Cell {
                fast: settings.fast,
                slow: settings.slow,
                figures: outcome.performance.figures,
            })
        })
        .collect();
    progress.finish_and_clear();
    cells
}

impl Cell {
    /// The row in the CSV. A missing value is empty.
    fn row(&self) -> [String; COLUMNS.len()] {
        let figures = &self.figures;
        let or_empty = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        [
            self.fast.to_string(),
            self.slow.to_string(),
            figures.equity_final.to_string(),
            figures.equity_peak.to_string(),
            figures.max_drawdown_pct.to_string(),
            figures.closed_trades.to_string(),
            or_empty(figures.win_rate_pct),
            or_empty(figures.sharpe),
        ]
    }
}

/// The cell with the highest Sharpe ratio.
fn best(cells: &[Cell]) -> Option<(&Cell, f64)> {
    cells
        .iter()
        .filter_map(|cell| Some((cell, cell.figures.sharpe?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}
