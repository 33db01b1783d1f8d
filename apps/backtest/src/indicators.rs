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

/// The mean of the last `length` values, in constant time.
struct Sma {
    length: usize,
    /// The last values; a ring buffer when full.
    ring: Vec<f64>,
    oldest: usize,
    sum: f64,
}

impl Sma {
    fn new(length: usize) -> Self {
        Self {
            length,
            ring: Vec::new(),
            oldest: 0,
            sum: 0.0,
        }
    }

    fn push(&mut self, value: f64) {
        if self.ring.len() < self.length {
            self.ring.push(value);
            self.sum += value;
            return;
        }
        self.sum += value - self.ring[self.oldest];
        self.ring[self.oldest] = value;
        self.oldest += 1;
        if self.oldest == self.length {
            self.oldest = 0;
            // Once per round the sum is computed anew, so rounding errors do not accumulate.
            self.sum = self.ring.iter().sum();
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.ring.len() == self.length).then(|| self.sum / self.length as f64)
    }
}
