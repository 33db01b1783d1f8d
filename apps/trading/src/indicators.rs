//! The two moving averages of the close.

use std::cell::RefCell;

use serde::Serialize;
use static_bus::prelude::*;

use crate::messages::{Average, BarClose, GetSma};

#[derive(Serialize)]
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
#[derive(Serialize)]
struct Sma {
    length: usize,
    /// The values of the head; behind them, of the block before, the sum of all values from each place on.
    /// In the first block, nothing is behind the head.
    block: Vec<f64>,
    /// The number of values in the head, and their sum.
    count: usize,
    head: Sum,
}

impl Sma {
    fn new(length: usize) -> Self {
        Self {
            length,
            block: Vec::new(),
            count: 0,
            head: Sum::default(),
        }
    }

    fn push(&mut self, value: f64) {
        match self.block.get_mut(self.count) {
            Some(tail) => *tail = value,
            None => self.block.push(value),
        }
        self.count += 1;
        self.head = self.head.plus(value);
        if self.count == self.length {
            let mut tail = Sum::default();
            for place in self.block.iter_mut().rev() {
                tail = tail.plus(*place);
                *place = tail.value();
            }
            self.count = 0;
            self.head = Sum::default();
        }
    }

    fn mean(&self) -> Option<f64> {
        let tail = self.block.get(self.count)?;
        Some((self.head.value() + tail) / self.length as f64)
    }
}

/// A sum and its rounding errors so far (Neumaier, 1974).
#[derive(Clone, Copy, Default, Serialize)]
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

    fn value(self) -> f64 {
        self.high + self.low
    }
}
