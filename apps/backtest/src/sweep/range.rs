//! A range of lengths, from the command line: `10..50`, `10..=50` or `10..50:5`.

use std::{fmt, str::FromStr};

/// Includes both ends, unlike a Rust range.
#[derive(Clone, Copy)]
pub struct Range {
    first: usize,
    last: usize,
    step: usize,
}

impl Range {
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (self.first..=self.last).step_by(self.step)
    }

    pub fn len(self) -> usize {
        (self.last - self.first) / self.step + 1
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ends, step) = match text.split_once(':') {
            Some((ends, step)) => (ends, number(step)?),
            None => (text, 1),
        };
        let (first, last) = match ends.split_once("..") {
            Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
            None => (number(ends)?, number(ends)?),
        };
        if first == 0 {
            return Err("an average of 0 closes has no value, begin at 1".into());
        }
        if first > last {
            return Err(format!("{first} is above {last}, write {last}..{first}"));
        }
        if step == 0 {
            return Err("a step of 0 leads nowhere, give at least 1".into());
        }
        Ok(Self { first, last, step })
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not a whole number, write a range as in 10..50 or 10..50:5")
    })
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, step } = self;
        match step {
            1 => write!(f, "{first}..{last}"),
            step => write!(f, "{first}..{last}:{step}"),
        }
    }
}
