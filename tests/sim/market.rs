//! A small market for the tests: prices arrive, a strategy places orders, and orders expire. Every
//! step is in its journal.

use static_bus::{
    mailbox::Mailbox,
    prelude::*,
    sim::{Merge, Replay, Stream, merge},
    time::{Handle, Time, Timeline},
};
use std::cell::{Cell, RefCell};
use std::time::Duration;

#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Price {
    pub symbol: usize,
    pub value: f64,
}
event!(Price);

#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Halt {
    pub symbol: usize,
}
event!(Halt);

pub struct Review;
event!(Review);

pub struct Expire {
    pub order: u64,
}
event!(Expire);

pub struct PlaceOrder {
    pub symbol: usize,
    pub limit: f64,
}
command!(PlaceOrder);

mailbox! {
    #[derive(Clone)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub enum Input { event Price, event Halt }
}
mailbox! { pub enum Timers { event Review, event Expire } }
mailbox! { pub enum Cascade { command PlaceOrder } }

pub const SYMBOLS: usize = 3;

/// The time, the step, and the number of its subject.
pub type Entry = (Time, &'static str, u64);

pub struct Market<'a> {
    timeline: &'a Timeline<Timers>,
    average: [Cell<f64>; SYMBOLS],
    expiry: [Cell<Option<Handle>>; SYMBOLS],
    orders: Cell<u64>,
    journal: RefCell<Vec<Entry>>,
}

impl<'a> Market<'a> {
    /// A market that reviews from the epoch on.
    pub fn new(timeline: &'a Timeline<Timers>) -> Self {
        timeline.schedule(Time::EPOCH, Review);
        Market {
            timeline,
            average: Default::default(),
            expiry: Default::default(),
            orders: Cell::new(0),
            journal: RefCell::default(),
        }
    }

    pub fn bus<'m>(&'m self) -> MarketBus<'m> {
        BusBuilder::new()
            .mount(hlist![
                on_event::<Price, _>(self),
                on_event::<Halt, _>(self),
                on_event::<Review, _>(self),
                on_event::<Expire, _>(self),
                on_command::<PlaceOrder, _>(self),
            ])
            .mailbox::<Cascade>(8)
            .build()
    }

    /// The journal so far.
    pub fn journal(&self) -> Vec<Entry> {
        self.journal.borrow().clone()
    }

    fn note(&self, what: &'static str, number: u64) {
        self.journal
            .borrow_mut()
            .push((self.timeline.now(), what, number));
    }
}

impl<B: PostMessage<PlaceOrder>> EventHandler<Price, B> for Market<'_> {
    fn handle(&self, price: &Price, bus: &B) {
        let Price { symbol, value } = *price;
        let average = &self.average[symbol];
        average.set(0.9 * average.get() + 0.1 * value);
        self.note("price", average.get().to_bits());
        if value > average.get() {
            bus.post(PlaceOrder {
                symbol,
                limit: value,
            });
        }
    }
}

impl<B> EventHandler<Halt, B> for Market<'_> {
    fn handle(&self, halt: &Halt, _: &B) {
        self.note("halt", halt.symbol as u64);
        if let Some(expiry) = self.expiry[halt.symbol].take() {
            let was_waiting = self.timeline.cancel(expiry).is_some();
            self.note("cancelled", u64::from(was_waiting));
        }
    }
}

impl<B> EventHandler<Review, B> for Market<'_> {
    fn handle(&self, _: &Review, _: &B) {
        self.note("review", self.timeline.len() as u64);
        self.timeline
            .schedule(self.timeline.now() + Duration::from_nanos(50), Review);
    }
}

impl<B> EventHandler<Expire, B> for Market<'_> {
    fn handle(&self, expire: &Expire, _: &B) {
        self.note("expire", expire.order);
    }
}

impl<B> CommandHandler<PlaceOrder, B> for Market<'_> {
    fn handle(&self, order: PlaceOrder, _: &B) {
        let number = self.orders.replace(self.orders.get() + 1);
        self.note("order", order.limit.to_bits());
        let expiry = self.timeline.now() + Duration::from_nanos(order.limit as u64 % 7);
        let handle = self.timeline.schedule(expiry, Expire { order: number });
        self.expiry[order.symbol].set(Some(handle));
    }
}

/// A stream of inputs for each symbol, `length` items each.
pub fn inputs(length: u64) -> Merge<impl Iterator<Item = (Time, Input)> + Clone, Input> {
    merge((0..SYMBOLS).map(|symbol| {
        let items = (0..length).map(move |n| {
            let noise = (n + symbol as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let input = match noise % 16 {
                0 => Halt { symbol }.into(),
                _ => Price {
                    symbol,
                    value: 100.0 + noise as f64 / 3e5,
                }
                .into(),
            };
            (n + n / 3 * noise % 2, input)
        });
        Stream::new(
            format!("symbol {symbol}"),
            items.scan(0, |last, (time, input)| {
                *last = time.max(*last);
                Some((Time::from_nanos(*last as i64), input))
            }),
        )
    }))
}

pub type MarketBus<'m> = BusOf<
    HList![
        OnEvent<Price, &'m Market<'m>>,
        OnEvent<Halt, &'m Market<'m>>,
        OnEvent<Review, &'m Market<'m>>,
        OnEvent<Expire, &'m Market<'m>>,
        OnCommand<PlaceOrder, &'m Market<'m>>,
    ],
    Mailbox<Cascade>,
>;

/// Calls a function with the replay of some inputs on a market. Returns the journal.
pub fn journal_of<I, E>(
    timeline: &Timeline<Timers>,
    inputs: I,
    drive: impl FnOnce(&mut Replay<'_, MarketBus<'_>, Timers, I, Input>),
) -> Vec<Entry>
where
    I: Iterator<Item = Result<(Time, Input), E>>,
{
    let market = Market::new(timeline);
    let bus = market.bus();
    drive(&mut Replay::new(&bus, timeline, inputs));
    market.journal()
}

/// The journal of an uninterrupted run.
pub fn whole_journal_of<I, E: std::fmt::Debug>(timeline: &Timeline<Timers>, inputs: I) -> Vec<Entry>
where
    I: Iterator<Item = Result<(Time, Input), E>>,
{
    journal_of(timeline, inputs, |replay| drop(replay.run().unwrap()))
}
