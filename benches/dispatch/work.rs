//! The work of every variant: mixing a number into the state of one to three handlers.

use std::cell::Cell;

/// A handler whose state depends on all numbers so far, in their order: no call can be left out, moved or merged.
#[derive(Debug, Default, PartialEq)]
pub struct Mixer(Cell<u64>);

impl Mixer {
    #[inline]
    pub fn mix(&self, number: u64) -> u64 {
        let mixed = (self.0.get() ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        self.0.set(mixed);
        mixed
    }

    #[inline]
    pub fn accept(&self, number: u64) -> Result<(), Refused> {
        if number == u64::MAX {
            return Err(Refused);
        }
        self.mix(number);
        Ok(())
    }
}

#[derive(Debug)]
pub struct Refused;

/// The handlers of one benchmark. All variants refer to them, so their state can be compared afterwards.
pub type Mixers = &'static [Mixer; 3];

pub fn mixers() -> Mixers {
    Box::leak(Box::default())
}
