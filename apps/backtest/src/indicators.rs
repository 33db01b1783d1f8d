//! The two moving averages of the close.

use std::cell::RefCell;

use static_bus::prelude::*;

use crate::messages::{Average, BarClose, GetSma};

pub struct Indicators {
    fast: RefCell<Sma>,
    slow: RefCell<Sma>,
}

impl Indicators {
    pub fn new(fast: usize, slow: usize) -> Self {
        Self {
            fast: RefCell::new(Sma::new(fast)),
            slow: RefCell::new(Sma::new(slow)),
        }
    }
}

impl<B> EventHandler<BarClose, B> for Indicators {
    fn handle(&self, close: &BarClose, _bus: &B) {
        self.fast.borrow_mut().push(close.price);
        self.slow.borrow_mut().push(close.price);
    }
}

impl<B> QueryHandler<GetSma, B> for Indicators {
    fn handle(&self, GetSma(average): GetSma, _bus: &B) -> Option<f64> {
        match average {
            Average::Fast => self.fast.borrow().mean(),
            Average::Slow => self.slow.borrow().mean(),
        }
    }
}

/// The mean of the last `length` values, in amortized constant time.
///
/// Values are cut into blocks of `length`, so each window is a tail of one block and a head of the next.
/// Values are only added, never subtracted: no rounding error outlives its window.
struct Sma {
    length: usize,
    /// The block that is being filled, and its sum: a head.
    block: Vec<f64>,
    head: Sum,
    /// The sums of the last value of the block before, of its last two, and so on.
    tails: Vec<Sum>,
}

impl Sma {
    fn new(length: usize) -> Self {
        Self {
            length,
            block: Vec::new(),
            head: Sum::default(),
            tails: Vec::new(),
        }
    }

    fn push(&mut self, value: f64) {
        if self.block.len() == self.length {
            let mut tail = Sum::default();
            self.tails.clear();
            self.tails.extend(self.block.drain(..).rev().map(|value| {
                tail = tail.plus(value);
                tail
            }));
            self.head = Sum::default();
        }
        self.block.push(value);
        self.head = self.head.plus(value);
    }

    fn mean(&self) -> Option<f64> {
        let tail = match self.length - self.block.len() {
            0 => Sum::default(),
            missing => *self.tails.get(missing - 1)?,
        };
        let sum = (self.head.high + tail.high) + (self.head.low + tail.low);
        Some(sum / self.length as f64)
    }
}

/// A sum and its rounding errors so far (Neumaier, 1974).
#[derive(Clone, Copy, Default)]
struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    fn plus(self, value: f64) -> Self {
        let high = self.high + value;
        // The rounding error of this addition, exactly (Knuth, 1969).
        let added = high - self.high;
        let error = (self.high - (high - added)) + (value - added);
        Self {
            high,
            low: self.low + error,
        }
    }
}
