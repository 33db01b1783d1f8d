//! The same logic on the bus that is usually written by hand: a map from the type of a message to
//! shared, mutable handlers behind `dyn`.
//!
//! It is the better one of its kind: handlers see the message's own type, and messages are passed by
//! reference and never boxed, so that it allocates nothing while it runs.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use static_bus::prelude::{Command, Event, Query};

use super::{
    measure::Stretch,
    messages::*,
    model::{
        Account, Averages, Decisions, Fill, Holding, State, Statistics, direction, fill,
        within_limits,
    },
    ticks::{SYMBOLS, Tick},
};

/// Handles events, or a command.
trait Handler<M> {
    fn handle(&mut self, message: &M, bus: &DynBus);
}
/// Answers a query.
trait Responder<Q: Query> {
    fn respond(&self, query: &Q, bus: &DynBus) -> Q::Response;
}

type Shared<T> = Rc<RefCell<T>>;
/// The subscribers of event `E`, in order.
type Subscribers<E> = Vec<Shared<dyn Handler<E>>>;
type Executor<C> = Shared<dyn Handler<C>>;
type Answerer<Q> = Shared<dyn Responder<Q>>;

#[derive(Default)]
struct DynBus {
    /// By message: its `Subscribers`, `Executor` or `Answerer`.
    handlers: HashMap<TypeId, Box<dyn Any>>,
    queue: RefCell<VecDeque<Cascade>>,
}

impl DynBus {
    fn subscribe<E: Event + 'static>(&mut self, handler: Shared<impl Handler<E> + 'static>) {
        let subscribers = self
            .handlers
            .entry(TypeId::of::<E>())
            .or_insert_with(|| Box::new(Subscribers::<E>::new()));
        let subscribers: &mut Subscribers<E> = subscribers.downcast_mut().expect("an event");
        subscribers.push(handler);
    }

    fn register_command<C: Command + 'static>(
        &mut self,
        handler: Shared<impl Handler<C> + 'static>,
    ) {
        let handler: Executor<C> = handler;
        self.handlers.insert(TypeId::of::<C>(), Box::new(handler));
    }

    fn register_query<Q: Query + 'static>(&mut self, handler: Shared<impl Responder<Q> + 'static>) {
        let handler: Answerer<Q> = handler;
        self.handlers.insert(TypeId::of::<Q>(), Box::new(handler));
    }

    fn find<M: 'static, H: 'static>(&self) -> Option<&H> {
        self.handlers.get(&TypeId::of::<M>())?.downcast_ref()
    }

    fn publish<E: Event + 'static>(&self, event: &E) {
        for subscriber in self.find::<E, Subscribers<E>>().into_iter().flatten() {
            subscriber.borrow_mut().handle(event, self);
        }
    }

    fn execute<C: Command + 'static>(&self, command: &C) {
        let executor = self.find::<C, Executor<C>>().expect("a handler");
        executor.borrow_mut().handle(command, self);
    }

    fn send<Q: Query + 'static>(&self, query: &Q) -> Q::Response {
        let answerer = self.find::<Q, Answerer<Q>>().expect("a handler");
        answerer.borrow().respond(query, self)
    }

    fn post(&self, message: impl Into<Cascade>) {
        self.queue.borrow_mut().push_back(message.into());
    }

    fn settle(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                None => return,
                Some(Cascade::PlaceOrder(order)) => self.execute(&order),
                Some(Cascade::Fill(fill)) => self.publish(&fill),
            }
        }
    }
}

/// Orders and fills are handled where they are sent.
pub fn run_acyclic(state: &mut State, stretch: Stretch) {
    let services = Services::new(*state, Route::Sent);
    let bus = services.bus();
    stretch.drive(|tick| bus.publish(tick));
    *state = services.state();
}

/// Orders and fills are queued.
pub fn run_with_mailbox(state: &mut State, stretch: Stretch) {
    let services = Services::new(*state, Route::Posted);
    let bus = services.bus();
    stretch.drive(|tick| {
        bus.publish(tick);
        bus.settle();
    });
    *state = services.state();
}

struct Services {
    indicators: Shared<Indicators>,
    portfolio: Shared<Portfolio>,
    metrics: Shared<Metrics>,
    strategy: Shared<Strategy>,
    trader: Shared<Trader>,
    risk: Shared<Risk>,
    exchange: Shared<Exchange>,
}

impl Services {
    fn new(state: State, route: Route) -> Self {
        Self {
            indicators: shared(Indicators(state.averages)),
            portfolio: shared(Portfolio {
                account: state.account,
                holdings: state.holdings,
            }),
            metrics: shared(Metrics(state.statistics)),
            strategy: shared(Strategy),
            trader: shared(Trader(state.decisions, route)),
            risk: shared(Risk),
            exchange: shared(Exchange(route)),
        }
    }

    fn bus(&self) -> DynBus {
        let mut bus = DynBus {
            handlers: HashMap::new(),
            queue: RefCell::new(VecDeque::with_capacity(8)),
        };
        bus.subscribe::<Tick>(self.indicators.clone());
        bus.subscribe::<Tick>(self.portfolio.clone());
        bus.subscribe::<Tick>(self.strategy.clone());
        bus.subscribe::<EquityMarked>(self.metrics.clone());
        bus.subscribe::<Signal>(self.trader.clone());
        bus.subscribe::<Fill>(self.portfolio.clone());
        bus.subscribe::<Fill>(self.metrics.clone());
        bus.register_command::<PlaceOrder>(self.exchange.clone());
        bus.register_query::<GetSpread>(self.indicators.clone());
        bus.register_query::<GetPosition>(self.portfolio.clone());
        bus.register_query::<GetEquity>(self.portfolio.clone());
        bus.register_query::<CheckOrder>(self.risk.clone());
        bus
    }

    fn state(&self) -> State {
        let portfolio = self.portfolio.borrow();
        State {
            averages: self.indicators.borrow().0,
            holdings: portfolio.holdings,
            account: portfolio.account,
            statistics: self.metrics.borrow().0,
            decisions: self.trader.borrow().0,
        }
    }
}

fn shared<T>(service: T) -> Shared<T> {
    Rc::new(RefCell::new(service))
}

struct Indicators([Averages; SYMBOLS]);

impl Handler<Tick> for Indicators {
    fn handle(&mut self, tick: &Tick, _bus: &DynBus) {
        self.0[tick.symbol].push(tick);
    }
}

impl Responder<GetSpread> for Indicators {
    fn respond(&self, GetSpread(symbol): &GetSpread, _bus: &DynBus) -> f64 {
        self.0[*symbol].spread()
    }
}

struct Portfolio {
    account: Account,
    holdings: [Holding; SYMBOLS],
}

impl Handler<Tick> for Portfolio {
    fn handle(&mut self, tick: &Tick, bus: &DynBus) {
        let holding = &mut self.holdings[tick.symbol];
        let equity = self.account.mark(holding, tick.price);
        bus.publish(&EquityMarked { equity });
    }
}

impl Handler<Fill> for Portfolio {
    fn handle(&mut self, fill: &Fill, _bus: &DynBus) {
        self.account.book(&mut self.holdings[fill.symbol], fill);
    }
}

impl Responder<GetPosition> for Portfolio {
    fn respond(&self, GetPosition(symbol): &GetPosition, _bus: &DynBus) -> f64 {
        self.holdings[*symbol].units
    }
}

impl Responder<GetEquity> for Portfolio {
    fn respond(&self, _: &GetEquity, _bus: &DynBus) -> f64 {
        self.account.equity()
    }
}

struct Metrics(Statistics);

impl Handler<EquityMarked> for Metrics {
    fn handle(&mut self, marked: &EquityMarked, _bus: &DynBus) {
        self.0.mark(marked.equity);
    }
}

impl Handler<Fill> for Metrics {
    fn handle(&mut self, fill: &Fill, _bus: &DynBus) {
        self.0.fill(fill);
    }
}

/// Turns averages into signals.
struct Strategy;

impl Handler<Tick> for Strategy {
    fn handle(&mut self, tick: &Tick, bus: &DynBus) {
        let Tick { symbol, price, .. } = *tick;
        let units = direction(bus.send(&GetSpread(symbol)));
        bus.publish(&Signal {
            symbol,
            units,
            price,
        });
    }
}

/// Turns signals into orders, if risk allows.
struct Trader(Decisions, Route);

impl Handler<Signal> for Trader {
    fn handle(&mut self, signal: &Signal, bus: &DynBus) {
        let Signal {
            symbol,
            units,
            price,
        } = *signal;
        if !bus.send(&CheckOrder { symbol, units }) {
            self.0.refused += 1;
            return;
        }
        self.0.ordered += 1;
        let order = PlaceOrder {
            symbol,
            units,
            price,
        };
        match self.1 {
            Route::Sent => bus.execute(&order),
            Route::Posted => bus.post(order),
        }
    }
}

struct Risk;

impl Responder<CheckOrder> for Risk {
    fn respond(&self, CheckOrder { symbol, units }: &CheckOrder, bus: &DynBus) -> bool {
        within_limits(
            *units,
            bus.send(&GetPosition(*symbol)),
            bus.send(&GetEquity),
        )
    }
}

/// Fills every order at once, at its price.
struct Exchange(Route);

impl Handler<PlaceOrder> for Exchange {
    fn handle(&mut self, order: &PlaceOrder, bus: &DynBus) {
        let fill = fill(order.symbol, order.units, order.price);
        match self.0 {
            Route::Sent => bus.publish(&fill),
            Route::Posted => bus.post(fill),
        }
    }
}

/// How orders and fills travel: the one thing in which the two paths differ.
#[derive(Clone, Copy)]
enum Route {
    Sent,
    Posted,
}
