//! An event whose three subscribers can fail, and do not.

use std::any::type_name;
use std::cell::Cell;
use std::hint::black_box;

use static_bus::prelude::*;

pub struct Withdraw {
    pub cents: u64,
}
event!(Withdraw -> Result<(), Overdrawn>);

#[expect(dead_code, reason = "an error has a content, read or not")]
pub struct Overdrawn {
    pub balance: u64,
}

pub struct Account {
    pub balance: Cell<u64>,
}
impl Account {
    #[inline]
    pub fn withdraw(&self, cents: u64) -> Result<(), Overdrawn> {
        let balance = self.balance.get();
        match balance.checked_sub(cents) {
            Some(rest) => {
                self.balance.set(rest);
                Ok(())
            }
            None => Err(Overdrawn { balance }),
        }
    }
}
impl<B> EventHandler<Withdraw, B> for Account {
    #[inline]
    fn handle(&self, event: &Withdraw, _bus: &B) -> Result<(), Overdrawn> {
        self.withdraw(event.cents)
    }
}

pub type Bus = BusOf<
    HList![OnEvent<Withdraw, Account>, OnEvent<Withdraw, Account>, OnEvent<Withdraw, Account>],
>;

pub fn bus(balance: u64) -> Bus {
    let [a, b, c] = accounts(balance);
    BusBuilder::new()
        .subscribe::<Withdraw, _>(a)
        .subscribe::<Withdraw, _>(b)
        .subscribe::<Withdraw, _>(c)
        .build()
}

pub fn accounts(balance: u64) -> [Account; 3] {
    [(); 3].map(|()| Account {
        balance: Cell::new(balance),
    })
}

#[inline(never)]
pub fn by_bus(bus: &Bus, cents: u64) -> usize {
    match bus.publish(&Withdraw { cents }) {
        Ok(()) => 0,
        Err(error) => black_box(&error).failures().len(),
    }
}

/// The content of a `PublishError`, by hand.
#[expect(dead_code, reason = "the bus sets it, so the code by hand does too")]
pub struct Failed {
    pub event: &'static str,
    pub subscribers: usize,
    pub failures: Vec<Failure>,
}
#[expect(dead_code, reason = "the bus sets it, so the code by hand does too")]
pub struct Failure {
    pub handler: &'static str,
    pub position: usize,
    pub error: Overdrawn,
}

#[inline(never)]
pub fn by_hand(accounts: &[Account; 3], cents: u64) -> usize {
    match withdraw_from_all(accounts, cents) {
        Ok(()) => 0,
        Err(failed) => black_box(&failed).failures.len(),
    }
}

fn withdraw_from_all([a, b, c]: &[Account; 3], cents: u64) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for (position, account) in [a, b, c].into_iter().enumerate() {
        if let Err(error) = account.withdraw(cents) {
            let handler = type_name::<Account>();
            failures.push(Failure {
                handler,
                position,
                error,
            });
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failed {
        event: Withdraw::NAME,
        subscribers: 3,
        failures,
    })
}
