//! What dispatch promises, one test for each promise.
#![cfg(feature = "alloc")]

use static_bus::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

struct Double(u32);
query!(Double -> u32);
struct FindUser(u32);
query!(FindUser -> Option<&'static str>);
struct Parse(&'static str);
query!(Parse -> Result<u32, &'static str>);
#[derive(Debug, PartialEq, Clone)]
struct Store(String);
command!(Store);
struct Refuse;
command!(Refuse -> Result<(), &'static str>);
struct Tick(u32);
event!(Tick);
struct Mail;
event!(Mail -> Result<(), &'static str>, name = "mail.sent");

#[test]
fn a_query_returns_exactly_what_its_handler_returned() {
    let bus = BusBuilder::new()
        .register_query_fn(|q: Double| q.0 * 2)
        .register_query_fn(|q: FindUser| (q.0 == 7).then_some("Ada"))
        .register_query_fn(|q: Parse| q.0.parse().map_err(|_| "not a number"))
        .build();
    assert_eq!(bus.send::<Double>(Double(21)), 42);
    assert_eq!(bus.send::<FindUser>(FindUser(7)), Some("Ada"));
    assert_eq!(bus.send::<FindUser>(FindUser(8)), None);
    assert_eq!(bus.send::<Parse>(Parse("x")), Err("not a number"));
}

#[test]
fn a_command_runs_once_with_an_equal_value_and_its_error_reaches_the_caller() {
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .register_command_fn(|c: Store| seen.borrow_mut().push(c))
        .register_command_fn(|_: Refuse| Err("no"))
        .build();
    bus.execute(Store("a".into()));
    assert_eq!(*seen.borrow(), [Store("a".into())]);
    assert_eq!(bus.execute(Refuse), Err("no"));
}

#[test]
fn subscribers_run_in_registration_order_and_none_is_fine() {
    let seen = RefCell::new(vec![]);
    let note = |n: u32| {
        let seen = &seen;
        move |e: &Tick| seen.borrow_mut().push((n, e.0))
    };
    let bus = BusBuilder::new()
        .subscribe_fn(note(1))
        .subscribe_fn(note(2))
        .subscribe_fn(note(3))
        .build();
    bus.publish(&Tick(9));
    assert_eq!(*seen.borrow(), [(1, 9), (2, 9), (3, 9)]);
    let empty = BusBuilder::new().build();
    empty.publish(&Tick(1));
    assert_eq!(empty.publish(&Mail), Ok(()));
}

#[derive(Default)]
struct Counter(Cell<u32>);
impl<B> EventHandler<Tick, B> for Counter {
    fn handle(&self, _: &Tick, _: &B) {
        self.0.set(self.0.get() + 1);
    }
}
impl<B> QueryHandler<Double, B> for Counter {
    fn handle(&self, _: Double, _: &B) -> u32 {
        self.0.get()
    }
}
impl<B> QueryHandler<FindUser, B> for Counter {
    fn handle(&self, _: FindUser, _: &B) -> Option<&'static str> {
        Some("counter")
    }
}

#[test]
fn the_same_handler_subscribed_twice_runs_twice_and_one_service_serves_many_messages() {
    let counter = Rc::new(Counter::default());
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(counter.clone())
        .subscribe::<Tick, _>(counter.clone())
        .register_query::<Double, _>(counter.clone())
        .register_query::<FindUser, _>(&*counter)
        .build();
    bus.publish(&Tick(0));
    assert_eq!(bus.send::<Double>(Double(0)), 2);
    assert_eq!(bus.send::<FindUser>(FindUser(0)), Some("counter"));
}

#[test]
fn every_subscriber_runs_and_each_failure_is_in_the_error_with_its_position() {
    let runs = Cell::new(0);
    let mailer = |result: Result<(), &'static str>| {
        let runs = &runs;
        move |_: &Mail| {
            runs.set(runs.get() + 1);
            result
        }
    };
    let bus = BusBuilder::new()
        .subscribe_fn(mailer(Err("full")))
        .subscribe_fn(mailer(Ok(())))
        .subscribe_fn(mailer(Err("down")))
        .build();
    let error = bus.publish(&Mail).unwrap_err();
    assert_eq!(runs.get(), 3);
    let failed: Vec<_> = error
        .failures()
        .iter()
        .map(|f| (f.position, f.error))
        .collect();
    assert_eq!(failed, [(0, "full"), (2, "down")]);
    let handler = error.failures()[0].handler;
    assert!(
        handler.starts_with("contract::every_subscriber_runs"),
        "{handler}"
    );
    assert!(
        error
            .to_string()
            .starts_with("2 of 3 handlers of mail.sent failed: "),
        "{error}"
    );
}

struct Relay;
impl<B: SendQuery<Double>> QueryHandler<Parse, B> for Relay {
    fn handle(&self, q: Parse, bus: &B) -> Result<u32, &'static str> {
        Ok(bus.send(Double(q.0.len() as u32)))
    }
}
impl<B: SendQuery<Parse>> CommandHandler<Refuse, B> for Relay {
    fn handle(&self, _: Refuse, bus: &B) -> Result<(), &'static str> {
        if bus.send(Parse("abc"))? == 6 {
            Ok(())
        } else {
            Err("wrong")
        }
    }
}

#[test]
fn nested_sends_go_three_deep_whatever_the_registration_order() {
    let bus = BusBuilder::new()
        .register_command::<Refuse, _>(Relay)
        .register_query::<Parse, _>(Relay)
        .register_query_fn(|q: Double| q.0 * 2)
        .build();
    assert_eq!(bus.execute(Refuse), Ok(()));
}

#[test]
fn a_module_that_only_subscribes_can_be_mounted_twice() {
    let counter = Counter::default();
    let module = || hlist![on_event::<Tick, _>(&counter)];
    let bus = BusBuilder::new().mount(module()).mount(module()).build();
    bus.publish(&Tick(0));
    assert_eq!(counter.0.get(), 2);
}

outbox! { enum Cascade { event Tick, command Store } }

struct CountDown;
impl<B: PostMessage<Tick> + PostMessage<Store>> EventHandler<Tick, B> for CountDown {
    fn handle(&self, tick: &Tick, bus: &B) {
        if tick.0 > 0 {
            bus.post(Store(format!("after {}", tick.0)));
            bus.post(Tick(tick.0 - 1));
        }
    }
}

#[test]
fn the_outbox_is_fifo_and_posts_run_after_all_subscribers() {
    let log = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(CountDown)
        .subscribe_fn(|t: &Tick| log.borrow_mut().push(format!("tick {}", t.0)))
        .register_command_fn(|s: Store| log.borrow_mut().push(s.0))
        .outbox::<Cascade>(8)
        .build();
    bus.post(Tick(2));
    assert_eq!(bus.settle(), Ok(5));
    assert_eq!(
        *log.borrow(),
        ["tick 2", "after 2", "tick 1", "after 1", "tick 0"]
    );
}

#[test]
fn a_cascade_over_its_limit_stops_and_the_rest_is_delivered_by_the_next_settle() {
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(CountDown)
        .register_command_fn(|_: Store| ())
        .outbox::<Cascade>(8)
        .cascade_limit(3)
        .build();
    bus.post(Tick(2));
    let error = bus.settle().unwrap_err();
    assert_eq!(error.limit, 3);
    assert!(error.next.ends_with("::Store"), "{error}");
    assert_eq!(bus.settle(), Ok(2));
    assert_eq!(bus.settle(), Ok(0));
}

#[test]
fn a_panic_in_a_handler_leaves_the_bus_usable() {
    let bus = BusBuilder::new()
        .register_query_fn(|q: Double| 10_u32.checked_sub(q.0).unwrap())
        .build();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bus.send::<Double>(Double(11))
    }));
    assert!(panicked.is_err());
    assert_eq!(bus.send::<Double>(Double(4)), 6);
}

#[derive(Clone)]
struct Stateless;
impl<B> QueryHandler<Double, B> for Stateless {
    fn handle(&self, q: Double, _: &B) -> u32 {
        q.0 + 1
    }
}
impl<B> EventHandler<Tick, B> for Stateless {
    fn handle(&self, _: &Tick, _: &B) {}
}
type Small = BusOf<HList![OnQuery<Double, Stateless>, OnEvent<Tick, Stateless>]>;
static_assertions::const_assert_eq!(size_of::<Small>(), 0);
static_assertions::assert_impl_all!(Small: Clone, Send, Sync, std::fmt::Debug);
static_assertions::assert_not_impl_any!(BusOf<HList![OnQuery<Double, Rc<Stateless>>]>: Send, Sync);
assert_wired!(Small: SendQuery<Double>, PublishEvent<Tick>);

#[test]
fn a_bus_has_a_nameable_type_however_it_was_built_and_works_through_dyn() {
    let small: Small = BusBuilder::new()
        .register_query::<Double, _>(Stateless)
        .subscribe::<Tick, _>(Stateless)
        .build();
    let mounted: Small = BusBuilder::new()
        .mount(hlist![
            on_query::<Double, _>(Stateless),
            on_event::<Tick, _>(Stateless)
        ])
        .build();
    let dynamic: &dyn SendQuery<Double> = &small;
    assert_eq!(
        dynamic.send(Double(1)) + mounted.send::<Double>(Double(2)),
        5
    );
}

mod shop {
    use static_bus::prelude::*;
    pub struct Double;
    query!(Double -> &'static str);
}

#[test]
fn types_of_the_same_name_in_two_modules_are_two_messages_and_macros_work_inside_functions() {
    struct Local {
        n: u32,
    }
    query!(Local -> u32, name = "contract.local",);
    let bus = BusBuilder::new()
        .register_query_fn(|_: shop::Double| "shop")
        .register_query_fn(|q: Double| q.0)
        .register_query_fn(|q: Local| q.n)
        .build();
    assert_eq!(bus.send::<shop::Double>(shop::Double), "shop");
    assert_eq!(bus.send::<Double>(Double(3)), 3);
    assert_eq!(bus.send::<Local>(Local { n: 4 }), 4);
    assert_eq!(<Local as Message>::NAME, "contract.local");
    assert_eq!(<shop::Double as Message>::NAME, "contract::shop::Double");
}

#[test]
fn wiring_lists_every_registration() {
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(Stateless)
        .register_query::<Double, _>(Stateless)
        .build();
    let wiring = bus.wiring();
    assert_eq!(
        wiring.to_string(),
        "kind     message           handler\n\
         query    contract::Double  contract::Stateless\n\
         event    contract::Tick    contract::Stateless\n"
    );
    assert_eq!(
        wiring.mermaid(),
        "flowchart LR\n  m0[\"query contract::Double\"] --> h0[\"contract::Stateless\"]\n  \
         m1[\"event contract::Tick\"] --> h1[\"contract::Stateless\"]\n"
    );
    assert_eq!(
        wiring.dot(),
        "digraph wiring {\n  rankdir=LR;\n  \"query contract::Double\" -> \"contract::Stateless\";\n  \
         \"event contract::Tick\" -> \"contract::Stateless\";\n}\n"
    );
    let debug = format!("{bus:?}");
    assert!(
        debug.contains("query contract::Double -> contract::Stateless"),
        "{debug}"
    );
    assert!(
        debug.contains("event contract::Tick -> contract::Stateless"),
        "{debug}"
    );
    assert!(!debug.contains("Node"), "{debug}");
}
