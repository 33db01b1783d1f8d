//! The guarantees of dispatch, one test for each.
#![cfg(feature = "alloc")]

use static_bus::{mailbox::Mailbox, prelude::*};
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
#[derive(Clone)]
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

#[test]
fn a_failure_names_the_handler_and_its_position_and_the_others_ran() {
    let ran = Cell::new(0);
    struct Printer;
    impl<B> EventHandler<Mail, B> for Printer {
        fn handle(&self, _: &Mail, _: &B) -> Result<(), &'static str> {
            Err("no paper")
        }
    }
    let fine = |_: &Mail| {
        ran.set(ran.get() + 1);
        Ok(())
    };
    let bus = BusBuilder::new()
        .subscribe_fn(fine)
        .subscribe::<Mail, _>(Printer)
        .subscribe_fn(fine)
        .build();
    assert_eq!(
        bus.publish(&Mail).unwrap_err().to_string(),
        "1 of 3 handlers of mail.sent failed: \
         contract::a_failure_names_the_handler_and_its_position_and_the_others_ran::Printer (position 1): no paper"
    );
    assert_eq!(ran.get(), 2);
}

#[test]
fn a_handler_works_through_every_pointer_and_as_a_trait_object() {
    struct Zero;
    impl<B> QueryHandler<Double, B> for Zero {
        fn handle(&self, _: Double, _: &B) -> u32 {
            0
        }
    }
    fn answer<H>(handler: H) -> u32
    where
        H: QueryHandler<Double, BusOf<HList![OnQuery<Double, H>]>>,
    {
        let bus = BusBuilder::new()
            .mount(hlist![on_query::<Double, _>(handler)])
            .build();
        SendQuery::send(&bus, Double(1))
    }
    assert_eq!(answer(&Zero), 0);
    assert_eq!(answer(Rc::new(Zero)), 0);
    assert_eq!(answer(std::sync::Arc::new(Zero)), 0);
    let boxed: Box<dyn QueryHandler<Double, ()>> = Box::new(Zero);
    assert_eq!(boxed.handle(Double(1), &()), 0);
    let bus = BusBuilder::new()
        .register_query::<Double, _>(Box::new(Zero))
        .build();
    assert_eq!(bus.send::<Double>(Double(1)), 0);
}

#[test]
fn a_bus_can_be_built_in_a_generic_function_from_handlers_that_borrow() {
    fn total<'a, F: Fn(u32) -> u32>(seen: &'a RefCell<Vec<u32>>, f: &'a F) -> u32 {
        let bus = BusBuilder::new()
            .register_query_fn(move |q: Double| f(q.0))
            .subscribe_fn(move |t: &Tick| seen.borrow_mut().push(t.0))
            .build();
        bus.publish(&Tick(5));
        bus.send::<Double>(Double(1)) + bus.send::<Double>(Double(2))
    }
    let seen = RefCell::new(vec![]);
    let ten = 10;
    assert_eq!(total(&seen, &|n| n * ten), 30);
    assert_eq!(*seen.borrow(), [5]);
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

mailbox! { #[derive(Clone)] enum Cascade { event Tick, command Store } }

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
fn the_mailbox_is_fifo_and_posts_run_after_all_subscribers() {
    let log = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(CountDown)
        .subscribe_fn(|t: &Tick| log.borrow_mut().push(format!("tick {}", t.0)))
        .register_command_fn(|s: Store| log.borrow_mut().push(s.0))
        .mailbox::<Cascade>(8)
        .build();
    bus.post(Tick(2));
    assert_eq!(bus.settle(), Ok(5));
    assert_eq!(
        *log.borrow(),
        ["tick 2", "after 2", "tick 1", "after 1", "tick 0"]
    );
}

struct Number(u32);
event!(Number);
#[derive(Clone, Debug)]
struct Note(u32);
event!(Note);
mailbox! { enum Numbers { event Number } }
mailbox! { #[derive(Clone, Debug)] enum Notes { event Note } }

/// Posts the two numbers below each number of a binary tree.
#[derive(Clone, Copy)]
struct Branch;
impl<B: PostMessage<Number>> EventHandler<Number, B> for Branch {
    fn handle(&self, number: &Number, bus: &B) {
        if number.0 < 64 {
            bus.post(Number(2 * number.0));
            bus.post(Number(2 * number.0 + 1));
        }
    }
}

#[test]
fn the_mailbox_is_fifo_however_many_messages_wait() {
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|number: &Number| seen.borrow_mut().push(number.0))
        .subscribe::<Number, _>(Branch)
        .mailbox::<Numbers>(2)
        .cascade_limit(10)
        .build();
    bus.post(Number(1));
    while bus.settle().is_err() {}
    assert_eq!(*seen.borrow(), (1..128).collect::<Vec<_>>());
}

#[test]
fn a_clone_of_a_bus_has_its_own_queue_with_equal_content() {
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|note: &Note| seen.borrow_mut().push(note.0))
        .mailbox::<Notes>(8)
        .build();
    (1..4).for_each(|number| bus.post(Note(number)));
    let clone = bus.clone();
    assert_eq!(bus.settle(), Ok(3));
    assert_eq!(clone.settle(), Ok(3));
    assert_eq!(*seen.borrow(), [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_cascade_over_its_limit_stops_and_the_rest_is_delivered_by_the_next_settle() {
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(CountDown)
        .register_command_fn(|_: Store| ())
        .mailbox::<Cascade>(8)
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
fn nothing_is_allocated_by_dispatch_nor_by_an_mailbox_within_its_capacity() {
    let sum = Cell::new(0);
    let bus = BusBuilder::new()
        .register_query_fn(|q: Double| q.0 * 2)
        .register_command_fn(|_: Refuse| Err("no"))
        .subscribe_fn(|t: &Tick| sum.set(sum.get() + t.0))
        .subscribe_fn(|t: &Tick| sum.set(sum.get() + t.0))
        .register_command_fn(|_: Store| ())
        .mailbox::<Cascade>(8)
        .build();
    let allocations = |work: &dyn Fn()| allocation_counter::measure(work).count_total;

    let dispatch = allocations(&|| {
        sum.set(sum.get() + bus.send::<Double>(Double(1)));
        assert_eq!(bus.execute(Refuse), Err("no"));
        bus.publish(&Tick(3));
        assert_eq!(bus.publish(&Mail), Ok(()));
        for _ in 0..100 {
            (0..8).for_each(|n| bus.post(Tick(n)));
            assert_eq!(bus.settle(), Ok(8));
        }
    });
    assert_eq!(dispatch, 0);
    assert_eq!(sum.get(), 2 + 6 + 100 * 2 * 28);

    let clone = bus.clone();
    let on_a_clone = allocations(&|| (0..8).for_each(|n| clone.post(Tick(n))));
    assert_eq!(on_a_clone, 0);

    let beyond_capacity = allocations(&|| (0..20).for_each(|n| bus.post(Tick(n))));
    assert!(beyond_capacity > 0, "the counter counts");
}

#[test]
fn a_cloned_bus_has_a_queue_of_its_own() {
    let ticks = Cell::new(0);
    let bus = BusBuilder::new()
        .subscribe_fn(|_: &Tick| ticks.set(ticks.get() + 1))
        .register_command_fn(|_: Store| ())
        .mailbox::<Cascade>(8)
        .build();
    bus.post(Tick(0));
    let clone = bus.clone();
    clone.post(Tick(0));
    assert_eq!((clone.settle(), bus.settle()), (Ok(2), Ok(1)));
    assert_eq!(ticks.get(), 3);
}

#[test]
fn a_panic_while_settling_loses_only_the_message_that_was_being_handled() {
    let delivered = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|t: &Tick| {
            assert!(t.0 != 2, "two is bad luck");
            delivered.borrow_mut().push(t.0);
        })
        .register_command_fn(|_: Store| ())
        .mailbox::<Cascade>(8)
        .build();
    (1..=3).for_each(|n| bus.post(Tick(n)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bus.settle()));
    assert!(panicked.is_err());
    assert_eq!(bus.settle(), Ok(1));
    assert_eq!(*delivered.borrow(), [1, 3]);
}

/// A message whose `Clone` first calls `BEFORE_COPY` with its number.
struct Fragile(u32);
event!(Fragile);
mailbox! { #[derive(Clone)] enum Fragiles { event Fragile } }

thread_local! { static BEFORE_COPY: RefCell<Rc<dyn Fn(u32)>> = RefCell::new(Rc::new(|_| ())); }

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let before_copy = BEFORE_COPY.with_borrow(Rc::clone);
        before_copy(self.0);
        Fragile(self.0)
    }
}

#[test]
fn no_message_is_lost_when_the_copy_of_one_panics() {
    let seen = Rc::new(RefCell::new(vec![]));
    let note = seen.clone();
    let bus = BusBuilder::new()
        .subscribe_fn(move |event: &Fragile| note.borrow_mut().push(event.0))
        .mailbox::<Fragiles>(8)
        .build();
    let bus = Rc::new(bus);
    let (posting, settling) = (bus.clone(), bus.clone());
    let reasons: [Rc<dyn Fn(u32)>; _] = [
        Rc::new(|n| assert!(n != 1)),
        Rc::new(|n| assert!(n != 2)),
        Rc::new(|n| assert!(n != 3)),
        // A queue that is being copied takes and gives no message.
        Rc::new(move |_| posting.post(Fragile(9))),
        Rc::new(move |_| assert!(settling.settle().is_ok())),
    ];
    for reason in reasons {
        (1..=3).for_each(|n| bus.post(Fragile(n)));
        BEFORE_COPY.set(reason);
        let copy = std::panic::AssertUnwindSafe(|| drop((*bus).clone()));
        assert!(std::panic::catch_unwind(copy).is_err());
        BEFORE_COPY.set(Rc::new(|_| ()));
        bus.post(Fragile(4));
        assert_eq!(((*bus).clone().settle(), bus.settle()), (Ok(4), Ok(4)));
        assert_eq!(seen.take(), [1, 2, 3, 4, 1, 2, 3, 4]);
    }
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
impl<B> CommandHandler<Store, B> for Stateless {
    fn handle(&self, _: Store, _: &B) {}
}
type Small = BusOf<HList![OnQuery<Double, Stateless>, OnEvent<Tick, Stateless>]>;
static_assertions::const_assert_eq!(size_of::<Small>(), 0);
static_assertions::assert_impl_all!(Small: Clone, Send, Sync, std::fmt::Debug);
static_assertions::assert_not_impl_any!(BusOf<HList![OnQuery<Double, Rc<Stateless>>]>: Send, Sync);
assert_wired!(Small: SendQuery<Double>, PublishEvent<Tick>);
type Settling = BusOf<HList![OnCommand<Store, Stateless>], Mailbox<Cascade>>;
static_assertions::assert_impl_all!(Settling: Clone, Send, PostMessage<Tick>);
static_assertions::assert_not_impl_any!(Settling: Sync);

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
}

#[test]
fn debug_is_a_flat_list_of_registrations_however_many_there_are() {
    macro_rules! ticks {
        ($($event:ident)*) => {{
            $(struct $event; event!($event, name = stringify!($event));)*
            BusBuilder::new()$(.subscribe_fn(nothing::<$event>))*.build()
        }};
    }
    fn nothing<E>(_: &E) {}
    let bus = ticks!(A B C D E F G H I J K L M N O P Q R S T U V W X Y Z);
    let debug = format!("{bus:?}");
    let list = debug
        .strip_prefix("Bus [")
        .and_then(|rest| rest.strip_suffix(']'));
    let mut entries: Vec<&str> = list.expect("a list").split(", ").collect();
    entries.sort_unstable();
    let expected: Vec<String> = ('A'..='Z')
        .map(|e| {
            let path = "contract::debug_is_a_flat_list_of_registrations_however_many_there_are";
            format!("event {e} -> {path}::nothing<{path}::{e}>")
        })
        .collect();
    assert_eq!(entries, expected);
}
