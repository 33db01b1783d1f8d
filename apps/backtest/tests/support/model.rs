//! The rules of the backtest on prices that are whole numbers of ticks: each comparison is exact.

use std::{cmp::Ordering, fmt::Write};

pub const DAY: usize = 86_400;

/// Prices in ticks, each tick ten to the power of `-decimals`.
pub struct Series {
    pub decimals: usize,
    /// Seconds from bar to bar.
    pub interval: usize,
    /// Open and close.
    pub bars: Vec<(i128, i128)>,
}

/// An order of one unit that is filled at the open of a bar; negative when sold.
pub struct Position {
    pub entry_bar: usize,
    pub exit_bar: Option<usize>,
    pub units: i128,
}

impl Series {
    /// Bars of a minute whose open is the close before.
    pub fn of_closes(decimals: usize, closes: impl IntoIterator<Item = i128>) -> Self {
        let mut open = None;
        let bars = closes
            .into_iter()
            .map(|close| (open.replace(close).unwrap_or(close), close));
        Self {
            decimals,
            interval: 60,
            bars: bars.collect(),
        }
    }

    /// The bars of a CSV file with as many decimals at most, a day apart.
    pub fn of_csv(decimals: usize, text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().expect("a header").clone();
        let at = |name| header.iter().position(|column| column == name).expect(name);
        let (open, close) = (at("open"), at("close"));
        let ticks = |cell: &str| -> i128 {
            let (whole, part) = cell.split_once('.').unwrap_or((cell, ""));
            assert!(part.len() <= decimals, "{cell}");
            format!("{whole}{part:0<decimals$}")
                .parse()
                .expect("a price")
        };
        let bars = reader.records().map(|row| {
            let row = row.expect("a row");
            (ticks(&row[open]), ticks(&row[close]))
        });
        Self {
            decimals,
            interval: DAY,
            bars: bars.collect(),
        }
    }

    /// The bars as CSV.
    pub fn csv(&self) -> String {
        let mut text = String::from("date,open,high,low,close\n");
        for (index, (open, close)) in self.bars.iter().enumerate() {
            let [open, high, low, close] =
                [*open, *open.max(close), *open.min(close), *close].map(|price| self.price(price));
            let time = self.time(index);
            writeln!(text, "{time},{open},{high},{low},{close}").expect("a string grows");
        }
        text
    }

    /// The Unix time of a bar.
    fn time(&self, index: usize) -> usize {
        1_000_000_000 + self.interval * index
    }

    fn price(&self, ticks: i128) -> String {
        let unit = 10_i128.pow(self.decimals as u32);
        let (whole, part) = (ticks / unit, ticks % unit);
        format!("{whole}.{part:0width$}", width = self.decimals)
    }

    /// The order of the two averages at each close, from the first with a slow one.
    pub fn orders(&self, fast: usize, slow: usize) -> Vec<Ordering> {
        let mut total = 0;
        let mut sums = vec![0];
        sums.extend(self.bars.iter().map(|(_, close)| {
            total += close;
            total
        }));
        let sum = |end: usize, length: usize| sums[end] - sums[end - length];
        (slow..sums.len())
            .map(|end| {
                // Both averages, multiplied by both lengths.
                let (fast, slow) = (sum(end, fast) * slow as i128, sum(end, slow) * fast as i128);
                if (fast - slow).abs() * 1_000_000_000_000 <= slow {
                    Ordering::Equal
                } else {
                    fast.cmp(&slow)
                }
            })
            .collect()
    }

    /// All positions, for an account that is never at or below zero.
    pub fn positions(&self, fast: usize, slow: usize) -> Vec<Position> {
        let mut positions: Vec<Position> = Vec::new();
        for (index, orders) in self.orders(fast, slow).windows(2).enumerate() {
            let units = match orders {
                [Ordering::Less, Ordering::Greater] => 1,
                [Ordering::Greater, Ordering::Less] => -1,
                _ => continue,
            };
            // The window ends at bar `slow + index`, and its signal is filled one bar later.
            let entry_bar = slow + index + 1;
            if entry_bar == self.bars.len() {
                continue;
            }
            if let Some(last) = positions.last_mut() {
                last.exit_bar = Some(entry_bar);
            }
            positions.push(Position {
                entry_bar,
                exit_bar: None,
                units,
            });
        }
        positions
    }
}

/// The account of one unit per position, with a commission of 0.002, at the end of each day.
///
/// Amounts are in thousandths of a tick.
pub fn pnls(series: &Series, positions: &[Position]) -> Vec<i128> {
    let mut realized = 0;
    let mut held = None;
    let mut days: Vec<(usize, i128)> = Vec::new();
    let mut positions = positions.iter().peekable();
    for (index, (open, close)) in series.bars.iter().enumerate() {
        if let Some(position) = positions.next_if(|position| position.entry_bar == index) {
            if let Some((units, price)) = held.replace((position.units, *open)) {
                realized += 1_000 * units * (open - price) - 2 * open;
            }
            realized -= 2 * open;
        }
        let gain = held.map_or(0, |(units, price)| 1_000 * units * (close - price));
        let (day, pnl) = (series.time(index) / DAY, realized + gain);
        match days.last_mut() {
            Some(last) if last.0 == day => last.1 = pnl,
            _ => days.push((day, pnl)),
        }
    }
    days.into_iter().map(|(_, pnl)| pnl).collect()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    /// A number from 0 up to this one.
    pub fn below(&mut self, end: i128) -> i128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        i128::from(bits ^ bits >> 31) % end
    }

    /// A number from both ends of this range and between.
    pub fn within(&mut self, low: i128, high: i128) -> i128 {
        low + self.below(high - low + 1)
    }
}
