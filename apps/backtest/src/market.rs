//! The options that a single run and a sweep share.

use std::path::PathBuf;

use clap::Args;
use trading::{Settings, bars::AMOUNTS};

/// The bars, the account and its costs.
#[derive(Args)]
pub struct Market {
    /// Bars with the columns date, open, high, low and close [default: S&P 500, 2000 to 2020]
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Units in each position
    #[arg(
        long,
        value_name = "X",
        default_value_t = Settings::DEFAULT.size,
        allow_negative_numbers = true
    )]
    size: f64,
    /// Cash at the start
    #[arg(
        long,
        value_name = "X",
        default_value_t = Settings::DEFAULT.cash,
        allow_negative_numbers = true
    )]
    cash: f64,
    /// Commission on every fill, as a fraction of its value
    #[arg(
        long,
        value_name = "X",
        default_value_t = Settings::DEFAULT.commission,
        allow_negative_numbers = true
    )]
    commission: f64,
}

impl Market {
    /// The options as settings with these averages, after a check of their limits.
    pub fn settings(&self, fast: usize, slow: usize) -> Result<Settings, String> {
        let Self {
            size,
            cash,
            commission,
            ..
        } = *self;
        positive("--size", size)?;
        positive("--cash", cash)?;
        if !(0.0..1.0).contains(&commission) {
            return Err(format!(
                "--commission {commission} is not a fraction from 0 up to 1; 0.002 means 0.2 %"
            ));
        }
        Ok(Settings {
            fast,
            slow,
            size,
            cash,
            commission,
        })
    }
}

fn positive(option: &str, value: f64) -> Result<(), String> {
    if AMOUNTS.contains(&value) {
        Ok(())
    } else {
        Err(format!(
            "{option} {value:?} is out of range; give a finite, positive number from {:e} to {:e}",
            AMOUNTS.start, AMOUNTS.end
        ))
    }
}
