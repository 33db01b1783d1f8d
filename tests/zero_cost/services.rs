//! The services of both sides: plain structs with plain methods, without a bus.
//!
//! Each does some work on state that the compiler does not know.
//! Where one uses another's answer, it uses it as an index, so the order of the steps is fixed.

use std::cell::Cell;

#[derive(Default)]
pub struct Prices {
    pub cents: [u64; 8],
}
impl Prices {
    #[inline]
    pub fn of(&self, item: u64) -> u64 {
        self.cents[item as usize % 8]
    }
}

#[derive(Default)]
pub struct Categories {
    pub of_item: [u8; 8],
}
impl Categories {
    #[inline]
    pub fn of(&self, item: u64) -> u8 {
        self.of_item[item as usize % 8]
    }
}

#[derive(Default)]
pub struct Rates {
    pub percent: [u64; 4],
}
impl Rates {
    #[inline]
    pub fn of(&self, category: u8) -> u64 {
        self.percent[usize::from(category) % 4]
    }
}

#[derive(Default)]
pub struct Tax;
impl Tax {
    #[inline]
    pub fn on(&self, cents: u64, percent: u64) -> u64 {
        cents * percent / 100
    }
}

#[derive(Default)]
pub struct Stock {
    pub left: Cell<u32>,
}
#[derive(Debug, PartialEq)]
pub struct OutOfStock {
    pub left: u32,
}
impl Stock {
    #[inline]
    pub fn take(&self, amount: u32) -> Result<(), OutOfStock> {
        let left = self.left.get();
        match left.checked_sub(amount) {
            Some(rest) => {
                self.left.set(rest);
                Ok(())
            }
            None => Err(OutOfStock { left }),
        }
    }
}

#[derive(Default)]
pub struct Revenue {
    pub cents: Cell<u64>,
}
impl Revenue {
    #[inline]
    pub fn add(&self, cents: u64) {
        self.cents.set(self.cents.get() + cents);
    }
}

#[derive(Default)]
pub struct Sales {
    pub count: Cell<u64>,
}
impl Sales {
    #[inline]
    pub fn count(&self) {
        self.count.set(self.count.get() + 1);
    }
}

#[derive(Default)]
pub struct Largest {
    pub cents: Cell<u64>,
}
impl Largest {
    #[inline]
    pub fn see(&self, cents: u64) {
        self.cents.set(self.cents.get().max(cents));
    }
}
