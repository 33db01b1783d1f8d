//! The guarantees of layers, one test for each.
#![cfg(feature = "alloc")]

use static_bus::layer::{AroundCommand, AroundEvent, AroundQuery, Layer, Layered};
use static_bus::{mailbox::Mailbox, prelude::*, wiring::Registration};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

struct Double(u32);
query!(Double -> u32, name = "double");
struct Quadruple(u32);
query!(Quadruple -> u32, name = "quadruple");
struct Store(&'static str);
command!(Store -> Result<(), &'static str>, name = "store");
#[derive(Clone)]
struct Stored(&'static str);
event!(Stored, name = "stored");
struct Mail;
event!(Mail -> Result<(), &'static str>, name = "mail");

type Log = Rc<RefCell<Vec<String>>>;
fn lines(log: &Log) -> Vec<String> {
    log.borrow_mut().drain(..).collect()
}

/// Notes the begin and the end of each message, and what it was made for.
#[derive(Clone)]
struct Noted {
    name: &'static str,
    log: Log,
}
#[derive(Clone)]
struct Note {
    name: &'static str,
    message: &'static str,
    log: Log,
}
impl Layer for Noted {
    type Around = Note;
    fn around(&self, registration: Registration) -> Note {
        Note {
            name: self.name,
            message: registration.message,
            log: self.log.clone(),
        }
    }
}
impl Note {
    fn around<R>(&self, run: impl FnOnce() -> R) -> R {
        let note = |when| {
            let line = format!("{} {when} {}", self.name, self.message);
            self.log.borrow_mut().push(line);
        };
        note("before");
        let result = run();
        note("after");
        result
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Note {
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        self.around(|| next(query))
    }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Note {
    fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        self.around(|| next(command))
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Note {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        self.around(|| next(event))
    }
}
fn noted() -> (Log, impl Fn(&'static str) -> Noted) {
    let log = Log::default();
    let layer = {
        let log = log.clone();
        move |name| Noted {
            name,
            log: log.clone(),
        }
    };
    (log, layer)
}

/// A handler of all messages, which notes them.
#[derive(Clone)]
struct Service(Log);
impl<B> QueryHandler<Double, B> for Service {
    fn handle(&self, query: Double, _bus: &B) -> u32 {
        self.0.borrow_mut().push("handled double".into());
        query.0 * 2
    }
}
impl<B: SendQuery<Double>> QueryHandler<Quadruple, B> for Service {
    fn handle(&self, query: Quadruple, bus: &B) -> u32 {
        bus.send(Double(bus.send(Double(query.0))))
    }
}
impl<B: PublishEvent<Stored>> CommandHandler<Store, B> for Service {
    fn handle(&self, command: Store, bus: &B) -> Result<(), &'static str> {
        bus.publish(&Stored(command.0));
        Err("full")
    }
}
impl<B> EventHandler<Stored, B> for Service {
    fn handle(&self, event: &Stored, _bus: &B) {
        self.0.borrow_mut().push(format!("handled {}", event.0));
    }
}

#[test]
fn the_layer_added_last_is_the_outermost() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_fn(|n: Double| n.0 * 2)
        .layer(layer("a"))
        .layer(layer("b"))
        .layer(layer("c"))
        .build();
    assert_eq!(bus.send::<Double>(Double(21)), 42);
    assert_eq!(
        lines(&log),
        [
            "c before double",
            "b before double",
            "a before double",
            "a after double",
            "b after double",
            "c after double"
        ]
    );
}

#[test]
fn what_is_registered_after_a_layer_is_not_within_it() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .subscribe_fn(|_: &Stored| ())
        .register_query_fn(|n: Double| n.0 * 2)
        .layer(layer("a"))
        .subscribe_fn(|_: &Stored| ())
        .register_command_fn(|_: Store| Ok(()))
        .layer(layer("b"))
        .build();
    bus.publish(&Stored("x"));
    bus.execute(Store("x")).unwrap();
    bus.send::<Double>(Double(1));
    assert_eq!(
        lines(&log),
        [
            "b before stored",
            "a before stored",
            "a after stored",
            "b after stored",
            "b before stored",
            "b after stored",
            "b before store",
            "b after store",
            "b before double",
            "a before double",
            "a after double",
            "b after double"
        ]
    );
}

#[test]
fn a_layer_of_a_module_or_of_an_entry_is_within_the_layers_of_the_bus() {
    let (log, layer) = noted();
    let service = Service(Log::default());
    let numbers = hlist![
        on_query::<Double, _>(service.clone()).layer(layer("entry")),
        on_query::<Quadruple, _>(service.clone()),
    ];
    let bus = BusBuilder::new()
        .register_command_fn(|_: Store| Ok(()))
        .mount(numbers.layer(layer("module")))
        .layer(layer("bus"))
        .build();
    bus.execute(Store("x")).unwrap();
    assert_eq!(lines(&log), ["bus before store", "bus after store"]);
    bus.send::<Double>(Double(1));
    assert_eq!(
        lines(&log)[..3],
        [
            "bus before double",
            "module before double",
            "entry before double"
        ]
    );
}

#[test]
fn each_message_that_a_handler_sends_passes_its_own_layers() {
    let (log, layer) = noted();
    let service = Service(log.clone());
    let bus = BusBuilder::new()
        .register_query::<Double, _>(service.clone())
        .layer(layer("inner"))
        .register_query::<Quadruple, _>(service)
        .layer(layer("outer"))
        .build();
    assert_eq!(bus.send::<Quadruple>(Quadruple(10)), 40);
    let double = [
        "outer before double",
        "inner before double",
        "handled double",
        "inner after double",
        "outer after double",
    ];
    let expected = [
        &["outer before quadruple"][..],
        &double,
        &double,
        &["outer after quadruple"],
    ];
    assert_eq!(lines(&log), expected.concat());
}

/// Answers queries of odd numbers, and passes on the others with a number twice as large.
struct Odd;
impl Layer for Odd {
    type Around = Odd;
    fn around(&self, _: Registration) -> Odd {
        Odd
    }
}
impl<B: ?Sized> AroundQuery<Double, B> for Odd {
    fn query(&self, query: Double, _bus: &B, next: impl Fn(Double) -> u32) -> u32 {
        if query.0 % 2 == 1 {
            0
        } else {
            next(Double(query.0 * 2))
        }
    }
}

#[test]
fn a_layer_may_answer_itself_or_change_the_message() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_fn(|n: Double| n.0 * 2)
        .layer(layer("inner"))
        .layer(Odd)
        .build();
    assert_eq!(bus.send::<Double>(Double(7)), 0);
    assert!(lines(&log).is_empty(), "the handler was not called");
    assert_eq!(bus.send::<Double>(Double(8)), 32);
}

/// Calls `next` until it succeeds, up to three times.
struct Again;
impl Layer for Again {
    type Around = Again;
    fn around(&self, _: Registration) -> Again {
        Again
    }
}
impl<E: Event<Output = Result<(), &'static str>>, B: ?Sized> AroundEvent<E, B> for Again {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        next(event)
            .or_else(|_| next(event))
            .or_else(|_| next(event))
    }
}

#[test]
fn a_layer_may_call_next_again_and_failures_name_the_subscriber() {
    let (log, layer) = noted();
    fn full(_: &Mail) -> Result<(), &'static str> {
        Err("full")
    }
    let bus = BusBuilder::new()
        .subscribe_fn(full)
        .layer(layer("inner"))
        .layer(Again)
        .build();
    let error = bus.publish(&Mail).unwrap_err();
    assert_eq!(lines(&log).len(), 6);
    let failure = &error.failures()[0];
    assert!(failure.handler.ends_with("::full"), "{}", failure.handler);
    assert_eq!(failure.error, "full");
}

#[test]
fn errors_of_commands_pass_through_layers() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_command::<Store, _>(Service(log.clone()))
        .subscribe::<Stored, _>(Service(log.clone()))
        .layer(layer("a"))
        .build();
    assert_eq!(bus.execute(Store("x")), Err("full"));
    assert_eq!(
        lines(&log),
        [
            "a before store",
            "a before stored",
            "handled x",
            "a after stored",
            "a after store"
        ]
    );
}

#[test]
fn a_panic_passes_through_layers_and_the_bus_is_usable_afterwards() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_fn(|n: Double| 10 / n.0)
        .layer(layer("a"))
        .build();
    let panicked = catch_unwind(AssertUnwindSafe(|| bus.send::<Double>(Double(0))));
    assert!(panicked.is_err());
    assert_eq!(lines(&log), ["a before double"]);
    assert_eq!(bus.send::<Double>(Double(5)), 2);
}

/// Panics when it is made, or when a message passes.
struct Explosive {
    when_made: bool,
}
struct Explosion;
impl Layer for Explosive {
    type Around = Explosion;
    fn around(&self, registration: Registration) -> Explosion {
        assert!(!self.when_made, "around {}", registration.message);
        Explosion
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Explosion {
    fn query(&self, _: Q, _bus: &B, _: impl Fn(Q) -> Q::Response) -> Q::Response {
        panic!("no message passes")
    }
}

#[test]
fn a_panic_of_a_layer_reaches_who_adds_it_or_sends() {
    let message =
        |result: std::thread::Result<()>| *result.unwrap_err().downcast::<String>().unwrap();
    let builder = || BusBuilder::new().register_query_fn(|n: Double| n.0);
    let adding = catch_unwind(|| drop(builder().layer(Explosive { when_made: true })));
    assert_eq!(message(adding), "around double");

    let bus = builder().layer(Explosive { when_made: false }).build();
    let sending = catch_unwind(AssertUnwindSafe(|| bus.send::<Double>(Double(1))));
    assert!(sending.is_err());
}

#[test]
fn posted_messages_pass_the_layers_when_they_are_delivered() {
    mailbox! { enum Cascade { event Stored } }
    let (log, layer) = noted();
    type Bus = BusOf<Layered<HList![OnEvent<Stored, Service>], Noted>, Mailbox<Cascade>>;
    let bus: Bus = BusBuilder::new()
        .subscribe::<Stored, _>(Service(log.clone()))
        .layer(layer("a"))
        .mailbox::<Cascade>(4)
        .build_as();
    bus.post(Stored("x"));
    assert!(lines(&log).is_empty());
    assert_eq!(bus.settle(), Ok(1));
    assert_eq!(
        lines(&log),
        ["a before stored", "handled x", "a after stored"]
    );
}

#[test]
fn a_layer_around_nothing_does_nothing() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .layer(layer("a"))
        .mount(hlist![].layer(layer("b")))
        .register_query_fn(|n: Double| n.0 * 2)
        .build();
    assert_eq!(bus.send::<Double>(Double(21)), 42);
    assert!(lines(&log).is_empty());
    assert!(bus.wiring().registrations()[0].layers().is_empty());
}

#[test]
fn around_is_made_once_for_each_registration_when_the_layer_is_added() {
    #[derive(Clone)]
    struct Seen(Rc<RefCell<Vec<Registration>>>);
    impl Layer for Seen {
        type Around = Odd;
        fn around(&self, registration: Registration) -> Odd {
            self.0.borrow_mut().push(registration);
            Odd
        }
    }
    let seen = Seen(Rc::default());
    let (_, layer) = noted();
    let _ = BusBuilder::new()
        .register_query_fn(|n: Double| n.0)
        .subscribe_fn(|_: &Stored| ())
        .subscribe_fn(|_: &Stored| ())
        .layer(layer("a"))
        .subscribe_fn(|_: &Stored| ())
        .layer(seen.clone());
    let mut seen: Vec<_> = seen
        .0
        .borrow()
        .iter()
        .map(|it| (it.message, it.layers().count()))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [("double", 1), ("stored", 0), ("stored", 1), ("stored", 1)]
    );
}

#[test]
fn a_written_type_of_a_bus_names_the_layers_in_any_order_of_registration() {
    type Inner = Layered<HList![OnQuery<Double, Service>], Noted>;
    type App = Layered<HList![Inner, OnQuery<Quadruple, Service>, OnEvent<Stored, Service>], Noted>;
    let (log, layer) = noted();
    let service = Service(log.clone());
    let bus: BusOf<App> = BusBuilder::new()
        .register_query::<Double, _>(service.clone())
        .layer(layer("inner"))
        .subscribe::<Stored, _>(service.clone())
        .register_query::<Quadruple, _>(service)
        .layer(layer("outer"))
        .build_as();
    assert_eq!(bus.send::<Quadruple>(Quadruple(1)), 4);
    let copy = bus.clone();
    lines(&log);
    copy.publish(&Stored("x"));
    assert_eq!(
        lines(&log),
        ["outer before stored", "handled x", "outer after stored"]
    );
}

#[test]
fn many_modules_and_subscribers_within_layers_keep_their_order() {
    let (log, layer) = noted();
    let subscriber = |n: u32| {
        let log = log.clone();
        on_event_fn(move |_: &Stored| log.borrow_mut().push(n.to_string()))
    };
    let (a, b) = (layer("a"), layer("b"));
    let bus = BusBuilder::new()
        .mount(
            hlist![
                subscriber(0),
                subscriber(1),
                subscriber(2),
                subscriber(3),
                subscriber(4)
            ]
            .layer(a),
        )
        .mount(hlist![subscriber(5), subscriber(6), subscriber(7)])
        .mount(hlist![subscriber(8), subscriber(9)].layer(b))
        .layer(layer("c"))
        .build();
    bus.publish(&Stored("x"));
    let mut handled = vec![];
    for line in lines(&log) {
        if line.parse::<u32>().is_ok() {
            handled.push(line);
        }
    }
    assert_eq!(handled, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    let layers = |i: usize| bus.wiring().registrations()[i].layers().count();
    assert_eq!([layers(0), layers(5), layers(9)], [2, 1, 2]);
}

#[test]
fn the_wiring_lists_layers_apart_from_handlers() {
    fn double(n: Double) -> u32 {
        n.0 * 2
    }
    let (_, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_fn(double)
        .layer(layer("a"))
        .layer(Odd)
        .register_command_fn(|_: Store| Ok(()))
        .build();
    let wiring = bus.wiring();
    let query = wiring.registrations()[0];
    assert!(query.handler.ends_with("::double"), "{}", query.handler);
    assert_eq!(
        query.layers().collect::<Vec<_>>(),
        ["layers::Noted", "layers::Odd"]
    );

    let handler = query.handler;
    let table = wiring.to_string();
    let rows: Vec<_> = table.lines().collect();
    let width = wiring.registrations()[1].handler.len();
    assert!(rows[0].ends_with("  layers"), "{table}");
    let layers = "layers::Noted, layers::Odd";
    assert_eq!(
        rows[1],
        format!("query    double   {handler:<width$}  {layers}")
    );
    assert!(rows[2].ends_with("{{closure}}"), "{table}");
    assert!(
        wiring.mermaid().contains(&format!(
            "m0[\"query double\"] -->|\"layers::Noted, layers::Odd\"| h0[\"{handler}\"]"
        )),
        "{}",
        wiring.mermaid()
    );
    assert!(
        wiring.dot().contains(&format!(
            "\"query double\" -> \"{handler}\" [label=\"layers::Noted, layers::Odd\"];"
        )),
        "{}",
        wiring.dot()
    );
    assert!(
        format!("{bus:?}").contains(&format!(
            "query double -> {handler} within layers::Noted, layers::Odd"
        )),
        "{bus:?}"
    );
}

/// Asks the bus for something of its own.
struct Audited;
impl Layer for Audited {
    type Around = Audited;
    fn around(&self, _: Registration) -> Audited {
        Audited
    }
}
impl<C: Command, B: PublishEvent<Stored>> AroundCommand<C, B> for Audited {
    fn command(&self, command: C, bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        bus.publish(&Stored(C::NAME));
        next(command)
    }
}

#[test]
fn a_layer_may_send_messages_of_its_own() {
    let log = Log::default();
    let bus = BusBuilder::new()
        .register_command_fn(|_: Store| Ok(()))
        .layer(Audited)
        .subscribe::<Stored, _>(Service(log.clone()))
        .build();
    bus.execute(Store("x")).unwrap();
    assert_eq!(lines(&log), ["handled store"]);
}
