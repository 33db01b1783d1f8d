//! The same logic as services on a static bus, which depend only on messages.

use std::{cell::Cell, convert::Infallible, marker::PhantomData};

use static_bus::layer::{Report, Timed};
use static_bus::prelude::*;
use static_bus::sim::Replay;
use static_bus::time::{Time, Timeline};

use super::{
    measure::Stretch,
    messages::*,
    model::{
        Account, Averages, Decisions, Fill, Holding, State, Statistics, direction, fill,
        within_limits,
    },
    ticks::{SYMBOLS, Tick, Ticks},
};

/// More than the messages that one tick posts, so the mailbox never grows.
const MAILBOX: usize = 8;

/// Orders and fills are handled where they are sent.
pub fn run_acyclic(state: &mut State, stretch: Stretch) {
    let services = Services::<Sent>::from(*state);
    let bus = BusBuilder::new().mount(&services).build();
    stretch.drive(|tick| bus.publish(tick));
    *state = services.state();
}

/// The same, with the time of each handler measured.
pub fn run_timed(state: &mut State, stretch: Stretch) {
    run_within(&Timed::local(), state, stretch);
}

/// The time of each handler of the first ticks.
pub fn times(mut ticks: Ticks, count: u64) -> Report {
    let timed = Timed::local();
    let stretch = Stretch {
        ticks: &mut ticks,
        batches: 1,
        batch: count,
        clock: &mut |_| {},
    };
    run_within(&timed, &mut State::default(), stretch);
    timed.report()
}

fn run_within(timed: &Timed<Cell<u64>>, state: &mut State, stretch: Stretch) {
    let services = Services::<Sent>::from(*state);
    let bus = BusBuilder::new()
        .mount(&services)
        .layer(timed.clone())
        .build();
    stretch.drive(|tick| bus.publish(tick));
    *state = services.state();
}

/// Orders and fills are posted, so the services could form a cycle.
pub fn run_with_mailbox(state: &mut State, stretch: Stretch) {
    let services = Services::<Posted>::from(*state);
    let bus = BusBuilder::new()
        .mount(&services)
        .mailbox::<Cascade>(MAILBOX)
        .build();
    stretch.drive(|tick| {
        bus.publish(tick);
        bus.settle().expect("a tick posts two messages at most");
    });
    *state = services.state();
}

/// The same as [`run_acyclic`], driven by a replay.
pub fn run_replayed(state: &mut State, stretch: Stretch) {
    let services = Services::<Sent>::from(*state);
    let bus = BusBuilder::new().mount(&services).build();
    let timeline = Timeline::<Input>::new();
    let inputs = stretch
        .timed()
        .map(|(time, tick)| Ok::<_, Infallible>((Time::from_nanos(time), Input::from(tick))));
    let replayed = Replay::new(&bus, &timeline, inputs).run();
    replayed.expect("the ticks are sorted, and no message is posted");
    *state = services.state();
}

struct Services<Route> {
    indicators: Indicators,
    portfolio: Portfolio,
    metrics: Metrics,
    strategy: Strategy,
    trader: Trader<Route>,
    risk: Risk,
    exchange: Exchange<Route>,
}

impl<'a, Route> Module for &'a Services<Route> {
    // Subscribers run in this order: the averages and the account are up to date when the
    // strategy reads them.
    type Handlers = HList![
        OnEvent<Tick, &'a Indicators>,
        OnEvent<Tick, &'a Portfolio>,
        OnEvent<Tick, &'a Strategy>,
        OnEvent<EquityMarked, &'a Metrics>,
        OnEvent<Signal, &'a Trader<Route>>,
        OnEvent<Fill, &'a Portfolio>,
        OnEvent<Fill, &'a Metrics>,
        OnCommand<PlaceOrder, &'a Exchange<Route>>,
        OnQuery<GetSpread, &'a Indicators>,
        OnQuery<GetPosition, &'a Portfolio>,
        OnQuery<GetEquity, &'a Portfolio>,
        OnQuery<CheckOrder, &'a Risk>,
    ];

    fn handlers(self) -> Self::Handlers {
        hlist![
            on_event(&self.indicators),
            on_event(&self.portfolio),
            on_event(&self.strategy),
            on_event(&self.metrics),
            on_event(&self.trader),
            on_event(&self.portfolio),
            on_event(&self.metrics),
            on_command(&self.exchange),
            on_query(&self.indicators),
            on_query(&self.portfolio),
            on_query(&self.portfolio),
            on_query(&self.risk),
        ]
    }
}

impl<Route> From<State> for Services<Route> {
    fn from(state: State) -> Self {
        Self {
            indicators: Indicators(state.averages.map(Cell::new)),
            portfolio: Portfolio {
                account: Cell::new(state.account),
                holdings: state.holdings.map(Cell::new),
            },
            metrics: Metrics(Cell::new(state.statistics)),
            strategy: Strategy,
            trader: Trader(Cell::new(state.decisions), PhantomData),
            risk: Risk,
            exchange: Exchange(PhantomData),
        }
    }
}

impl<Route> Services<Route> {
    fn state(self) -> State {
        State {
            averages: self.indicators.0.map(Cell::into_inner),
            holdings: self.portfolio.holdings.map(Cell::into_inner),
            account: self.portfolio.account.into_inner(),
            statistics: self.metrics.0.into_inner(),
            decisions: self.trader.0.into_inner(),
        }
    }
}

struct Indicators([Cell<Averages>; SYMBOLS]);

impl<B> EventHandler<Tick, B> for Indicators {
    #[inline]
    fn handle(&self, tick: &Tick, _bus: &B) {
        update(&self.0[tick.symbol], |averages| averages.push(tick));
    }
}

impl<B> QueryHandler<GetSpread, B> for Indicators {
    #[inline]
    fn handle(&self, GetSpread(symbol): GetSpread, _bus: &B) -> f64 {
        self.0[symbol].get().spread()
    }
}

struct Portfolio {
    account: Cell<Account>,
    holdings: [Cell<Holding>; SYMBOLS],
}

impl<B: PublishEvent<EquityMarked>> EventHandler<Tick, B> for Portfolio {
    #[inline]
    fn handle(&self, tick: &Tick, bus: &B) {
        let equity = update(&self.account, |account| {
            update(&self.holdings[tick.symbol], |holding| {
                account.mark(holding, tick.price)
            })
        });
        bus.publish(&EquityMarked { equity });
    }
}

impl<B> EventHandler<Fill, B> for Portfolio {
    #[inline]
    fn handle(&self, fill: &Fill, _bus: &B) {
        update(&self.account, |account| {
            update(&self.holdings[fill.symbol], |holding| {
                account.book(holding, fill);
            });
        });
    }
}

impl<B> QueryHandler<GetPosition, B> for Portfolio {
    #[inline]
    fn handle(&self, GetPosition(symbol): GetPosition, _bus: &B) -> f64 {
        self.holdings[symbol].get().units
    }
}

impl<B> QueryHandler<GetEquity, B> for Portfolio {
    #[inline]
    fn handle(&self, _: GetEquity, _bus: &B) -> f64 {
        self.account.get().equity()
    }
}

struct Metrics(Cell<Statistics>);

impl<B> EventHandler<EquityMarked, B> for Metrics {
    #[inline]
    fn handle(&self, marked: &EquityMarked, _bus: &B) {
        update(&self.0, |statistics| statistics.mark(marked.equity));
    }
}

impl<B> EventHandler<Fill, B> for Metrics {
    #[inline]
    fn handle(&self, fill: &Fill, _bus: &B) {
        update(&self.0, |statistics| statistics.fill(fill));
    }
}

/// Turns averages into signals.
struct Strategy;

impl<B: SendQuery<GetSpread> + PublishEvent<Signal>> EventHandler<Tick, B> for Strategy {
    #[inline]
    fn handle(&self, tick: &Tick, bus: &B) {
        let Tick { symbol, price, .. } = *tick;
        let units = direction(bus.send(GetSpread(symbol)));
        bus.publish(&Signal {
            symbol,
            units,
            price,
        });
    }
}

/// Turns signals into orders, if risk allows.
struct Trader<Route>(Cell<Decisions>, PhantomData<Route>);

impl<B, Route> EventHandler<Signal, B> for Trader<Route>
where
    B: SendQuery<CheckOrder>,
    Route: Carry<PlaceOrder, B>,
{
    #[inline]
    fn handle(&self, signal: &Signal, bus: &B) {
        let Signal {
            symbol,
            units,
            price,
        } = *signal;
        if !bus.send(CheckOrder { symbol, units }) {
            update(&self.0, |decisions| decisions.refused += 1);
            return;
        }
        update(&self.0, |decisions| decisions.ordered += 1);
        Route::carry(
            PlaceOrder {
                symbol,
                units,
                price,
            },
            bus,
        );
    }
}

struct Risk;

impl<B: SendQuery<GetPosition> + SendQuery<GetEquity>> QueryHandler<CheckOrder, B> for Risk {
    #[inline]
    fn handle(&self, CheckOrder { symbol, units }: CheckOrder, bus: &B) -> bool {
        within_limits(units, bus.send(GetPosition(symbol)), bus.send(GetEquity))
    }
}

/// Fills every order at once, at its price.
struct Exchange<Route>(PhantomData<Route>);

impl<B, Route: Carry<Fill, B>> CommandHandler<PlaceOrder, B> for Exchange<Route> {
    #[inline]
    fn handle(&self, order: PlaceOrder, bus: &B) {
        Route::carry(fill(order.symbol, order.units, order.price), bus);
    }
}

/// The dispatch of orders and fills: the only difference between the two paths.
trait Carry<M, B> {
    fn carry(message: M, bus: &B);
}

struct Sent;

impl<B: ExecuteCommand<PlaceOrder>> Carry<PlaceOrder, B> for Sent {
    #[inline]
    fn carry(order: PlaceOrder, bus: &B) {
        bus.execute(order);
    }
}

impl<B: PublishEvent<Fill>> Carry<Fill, B> for Sent {
    #[inline]
    fn carry(fill: Fill, bus: &B) {
        bus.publish(&fill);
    }
}

struct Posted;

impl<M: Message, B: PostMessage<M>> Carry<M, B> for Posted {
    #[inline]
    fn carry(message: M, bus: &B) {
        bus.post(message);
    }
}

/// Changes the value of a cell.
#[inline]
fn update<T: Copy, R>(cell: &Cell<T>, change: impl FnOnce(&mut T) -> R) -> R {
    let mut value = cell.get();
    let result = change(&mut value);
    cell.set(value);
    result
}
