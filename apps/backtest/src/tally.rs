//! Counts messages by type, for the report.
//!
//! An event is counted by one more subscriber. A query or command has one handler only,
//! so that handler is wrapped: `Counted(&tally.get_sma, &indicators)`.

use std::cell::Cell;

use static_bus::prelude::*;

#[derive(Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    fn add_one(&self) {
        self.0.set(self.0.get() + 1);
    }
}

impl<E, B> EventHandler<E, B> for Counter
where
    E: Event<Output = ()>,
{
    fn handle(&self, _: &E, _bus: &B) {
        self.add_one();
    }
}

/// A handler whose messages are counted.
pub struct Counted<'a, H>(pub &'a Counter, pub &'a H);

impl<Q, B, H> QueryHandler<Q, B> for Counted<'_, H>
where
    Q: Query,
    H: QueryHandler<Q, B>,
{
    fn handle(&self, query: Q, bus: &B) -> Q::Response {
        self.0.add_one();
        self.1.handle(query, bus)
    }
}

impl<C, B, H> CommandHandler<C, B> for Counted<'_, H>
where
    C: Command,
    H: CommandHandler<C, B>,
{
    fn handle(&self, command: C, bus: &B) -> C::Output {
        self.0.add_one();
        self.1.handle(command, bus)
    }
}

#[derive(Default)]
pub struct Tally {
    pub bar_open: Counter,
    pub bar_close: Counter,
    pub fill: Counter,
    pub signal: Counter,
    pub order_rejected: Counter,
    pub trade_closed: Counter,
    pub equity_marked: Counter,
    pub place_order: Counter,
    pub cancel_orders: Counter,
    pub get_sma: Counter,
    pub get_position: Counter,
    pub get_equity: Counter,
    pub check_order: Counter,
}

impl Tally {
    /// The kind, name and count of each message.
    pub fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
        [
            ("event", "BarOpen", &self.bar_open),
            ("event", "BarClose", &self.bar_close),
            ("event", "EquityMarked", &self.equity_marked),
            ("event", "Signal", &self.signal),
            ("event", "Fill", &self.fill),
            ("event", "TradeClosed", &self.trade_closed),
            ("event", "OrderRejected", &self.order_rejected),
            ("command", "PlaceOrder", &self.place_order),
            ("command", "CancelOrders", &self.cancel_orders),
            ("query", "GetSma", &self.get_sma),
            ("query", "GetPosition", &self.get_position),
            ("query", "GetEquity", &self.get_equity),
            ("query", "CheckOrder", &self.check_order),
        ]
        .map(|(kind, name, counter)| (kind, name, counter.0.get()))
        .to_vec()
    }
}
