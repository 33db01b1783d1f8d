//! `nautilus-common`'s message bus, in three variants: its typed calls, its calls for any type, and its
//! internal maps on their own.
//!
//! It has no call that returns an answer; a query is sent to an endpoint whose handler stores the
//! answer in a cell.

use std::{cell::Cell, rc::Rc, sync::Mutex};

use log::{LevelFilter, Log, Metadata, Record};
use nautilus_common::msgbus::{
    self, Endpoint, EndpointMap, MStr, Pattern, ShareableMessageHandler, Topic, TopicRouter,
    TypedHandler,
};
use nautilus_model::{
    data::QuoteTick,
    identifiers::InstrumentId,
    types::{Price, Quantity},
};

use crate::{
    jobs::{Add, Ask, Counter, Job, Nobody, State, ToOne, ToThree, answer},
    peer::{Missing, Peer, ask, tell},
};

/// The typed routes are for nautilus's own types only, so the number is in the time of a quote.
pub struct Typed {
    quote: QuoteTick,
    command: MStr<Endpoint>,
    one: MStr<Topic>,
    three: MStr<Topic>,
    state: State,
}

impl Typed {
    pub fn new() -> Self {
        let state = State::default();
        let peer = Typed {
            quote: quote(),
            command: "typed.add".into(),
            one: "typed.one".into(),
            three: "typed.three".into(),
            state: state.clone(),
        };
        msgbus::register_quote_endpoint(peer.command, on_quote(state.command));
        msgbus::subscribe_quotes(pattern(peer.one), on_quote(state.one), None);
        for counter in state.three {
            msgbus::subscribe_quotes(pattern(peer.three), on_quote(counter), None);
        }
        peer
    }

    #[inline(never)]
    fn command(&mut self, amount: u64) {
        self.quote.ts_event = amount.into();
        msgbus::send_quote(self.command, &self.quote);
    }
    #[inline(never)]
    fn event(&mut self, topic: MStr<Topic>, amount: u64) {
        self.quote.ts_event = amount.into();
        msgbus::publish_quote(topic, &self.quote);
    }
}

fn on_quote(counter: Counter) -> TypedHandler<QuoteTick> {
    TypedHandler::from(move |quote: &QuoteTick| counter.add(quote.ts_event.as_u64()))
}

fn pattern(topic: MStr<Topic>) -> MStr<Pattern> {
    topic.into()
}

fn quote() -> QuoteTick {
    QuoteTick::new(
        InstrumentId::from("ESZ6.GLBX"),
        Price::from("1.00"),
        Price::from("1.25"),
        Quantity::from(1),
        Quantity::from(1),
        0.into(),
        0.into(),
    )
}

impl Peer for Typed {
    fn name(&self) -> &'static str {
        "nautilus-common 0.57, typed"
    }
    fn offers(&self, job: Job) -> bool {
        job != Job::Query
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => unreachable!("not offered"),
            Job::Command => tell(n, |i| self.command(i)),
            Job::EventToOne => tell(n, |i| self.event(self.one, i)),
            Job::EventToThree => tell(n, |i| self.event(self.three, i)),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let send = logged(|| msgbus::send_quote("nobody".into(), &self.quote));
        let publish = logged(|| msgbus::publish_quote("nobody".into(), &self.quote));
        Missing::RunTime(format!("{send}; publish: {publish}"))
    }
}

/// The calls for any type: a handler gets `&dyn Any` and casts it.
pub struct AnyBus {
    query: MStr<Endpoint>,
    answer: Rc<Cell<u64>>,
    command: MStr<Endpoint>,
    one: MStr<Topic>,
    three: MStr<Topic>,
    state: State,
}

impl AnyBus {
    pub fn new() -> Self {
        let state = State::default();
        let peer = AnyBus {
            query: "any.ask".into(),
            answer: Rc::default(),
            command: "any.add".into(),
            one: "any.one".into(),
            three: "any.three".into(),
            state: state.clone(),
        };
        let reply = peer.answer.clone();
        msgbus::register_any(
            peer.query,
            ShareableMessageHandler::from_typed(move |ask: &Ask| reply.set(answer(ask.0))),
        );
        msgbus::register_any(
            peer.command,
            ShareableMessageHandler::from_typed(move |add: &Add| state.command.add(add.0)),
        );
        msgbus::subscribe_any(
            pattern(peer.one),
            ShareableMessageHandler::from_typed(move |event: &ToOne| state.one.add(event.0)),
            None,
        );
        for counter in state.three {
            msgbus::subscribe_any(
                pattern(peer.three),
                ShareableMessageHandler::from_typed(move |event: &ToThree| counter.add(event.0)),
                None,
            );
        }
        peer
    }

    #[inline(never)]
    fn query(&self, question: u64) -> u64 {
        msgbus::send_any(self.query, &Ask(question));
        self.answer.get()
    }
    #[inline(never)]
    fn command(&self, amount: u64) {
        msgbus::send_any(self.command, &Add(amount));
    }
    #[inline(never)]
    fn publish_one(&self, amount: u64) {
        msgbus::publish_any(self.one, &ToOne(amount));
    }
    #[inline(never)]
    fn publish_three(&self, amount: u64) {
        msgbus::publish_any(self.three, &ToThree(amount));
    }
}

impl Peer for AnyBus {
    fn name(&self) -> &'static str {
        "nautilus-common 0.57, any"
    }
    fn offers(&self, _: Job) -> bool {
        true
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => ask(n, |i| self.query(i)),
            Job::Command => tell(n, |i| self.command(i)),
            Job::EventToOne => tell(n, |i| self.publish_one(i)),
            Job::EventToThree => tell(n, |i| self.publish_three(i)),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let send = logged(|| msgbus::send_any("nobody".into(), &Nobody));
        let publish = logged(|| msgbus::publish_any("nobody".into(), &Nobody));
        Missing::RunTime(format!("{send}; publish: {publish}"))
    }
}

/// The typed maps inside the bus, used alone: they accept any type.
pub struct Parts {
    query: MStr<Endpoint>,
    asks: EndpointMap<Ask>,
    answer: Rc<Cell<u64>>,
    command: MStr<Endpoint>,
    adds: EndpointMap<Add>,
    one: (MStr<Topic>, TopicRouter<ToOne>),
    three: (MStr<Topic>, TopicRouter<ToThree>),
    state: State,
}

impl Parts {
    pub fn new() -> Self {
        let state = State::default();
        let State {
            command,
            one,
            three,
        } = state.clone();
        let mut peer = Parts {
            query: "parts.ask".into(),
            asks: EndpointMap::new(),
            answer: Rc::default(),
            command: "parts.add".into(),
            adds: EndpointMap::new(),
            one: ("parts.one".into(), TopicRouter::new()),
            three: ("parts.three".into(), TopicRouter::new()),
            state,
        };
        let reply = peer.answer.clone();
        let on_ask = TypedHandler::from(move |ask: &Ask| reply.set(answer(ask.0)));
        peer.asks.register(peer.query, on_ask);
        let on_add = TypedHandler::from(move |add: &Add| command.add(add.0));
        peer.adds.register(peer.command, on_add);
        let (topic, router) = &mut peer.one;
        let on_one = TypedHandler::from(move |event: &ToOne| one.add(event.0));
        router.subscribe(pattern(*topic), on_one, 0);
        let (topic, router) = &mut peer.three;
        for counter in three {
            let on_three = TypedHandler::from(move |event: &ToThree| counter.add(event.0));
            router.subscribe(pattern(*topic), on_three, 0);
        }
        peer
    }

    #[inline(never)]
    fn query(&self, question: u64) -> u64 {
        self.asks.send(self.query, &Ask(question));
        self.answer.get()
    }
    #[inline(never)]
    fn command(&self, amount: u64) {
        self.adds.send(self.command, &Add(amount));
    }
    #[inline(never)]
    fn publish_one(&mut self, amount: u64) {
        self.one.1.publish(self.one.0, &ToOne(amount));
    }
    #[inline(never)]
    fn publish_three(&mut self, amount: u64) {
        self.three.1.publish(self.three.0, &ToThree(amount));
    }
}

impl Peer for Parts {
    fn name(&self) -> &'static str {
        "nautilus-common 0.57, its maps alone"
    }
    fn offers(&self, _: Job) -> bool {
        true
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => ask(n, |i| self.query(i)),
            Job::Command => tell(n, |i| self.command(i)),
            Job::EventToOne => tell(n, |i| self.publish_one(i)),
            Job::EventToThree => tell(n, |i| self.publish_three(i)),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let send = logged(|| self.adds.send("nobody".into(), &Add(1)));
        let found = self.adds.try_send("nobody".into(), &Add(1));
        Missing::RunTime(format!("{send}; try_send: {found}"))
    }
}

/// The error that an action logs: the only sign of a message without a handler.
fn logged(action: impl FnOnce()) -> String {
    // The logger is set already if this was called before.
    let _ = log::set_logger(&LAST_ERROR);
    log::set_max_level(LevelFilter::Error);
    LAST_ERROR.0.lock().expect("no panic so far").clear();
    action();
    log::set_max_level(LevelFilter::Off);
    let text = LAST_ERROR.0.lock().expect("no panic so far");
    if text.is_empty() {
        "nothing".into()
    } else {
        format!("logs \"{text}\"")
    }
}

static LAST_ERROR: LastError = LastError(Mutex::new(String::new()));

struct LastError(Mutex<String>);
impl Log for LastError {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }
    fn log(&self, record: &Record) {
        *self.0.lock().expect("no panic so far") = record.args().to_string();
    }
    fn flush(&self) {}
}
