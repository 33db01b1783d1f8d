//! Messages with generic arguments: of concrete types, and with lifetimes, where one registration serves all.
#![cfg(feature = "alloc")]

use static_bus::{mailbox::Mailbox, prelude::*};
use std::cell::{Cell, RefCell};

struct Get<T>(T);
query!(Get<u32> -> u32, name = "get.u32");
query!(Get<Vec<Vec<u8>>> -> Vec<u8>, name = "get.bytes",);
query!(Get<(u8, [u8; 2])> -> u8, name = "get.pair");

struct Fill<T, const N: usize> {
    order: u64,
    lots: [T; N],
}
command!(Fill<std::num::NonZeroU8, 3> -> Result<(), &'static str>, name = "fill.3", key = order);
command!(Fill<u8, { 1 + 1 }>, name = "fill.2", key = order);

struct Changed<T>(T);
event!(Changed<u8>, name = "changed.u8");
event!(Changed<&'static str>, name = "changed.text");

#[test]
fn a_generic_type_is_a_message_for_each_of_its_types_that_is_declared() {
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .register_query_fn(|query: Get<u32>| query.0 + 1)
        .register_query_fn(|query: Get<Vec<Vec<u8>>>| query.0.concat())
        .register_query_fn(|query: Get<(u8, [u8; 2])>| query.0.1[0])
        .register_command_fn(
            |fill: Fill<std::num::NonZeroU8, 3>| match fill.lots[2].get() {
                3 => Err("no third lot"),
                _ => Ok(()),
            },
        )
        .register_command_fn(|fill: Fill<u8, 2>| seen.borrow_mut().push(fill.lots[1].to_string()))
        .subscribe_fn(|changed: &Changed<u8>| seen.borrow_mut().push(changed.0.to_string()))
        .subscribe_fn(|changed: &Changed<&str>| seen.borrow_mut().push(changed.0.to_owned()))
        .build();
    assert_eq!(bus.send(Get(1)), 2);
    assert_eq!(bus.send(Get(vec![vec![1], vec![2]])), [1, 2]);
    assert_eq!(bus.send(Get((1, [2, 3]))), 2);
    let lots = [1, 2, 3].map(|n| std::num::NonZeroU8::new(n).unwrap());
    assert_eq!(bus.execute(Fill { order: 1, lots }), Err("no third lot"));
    bus.execute(Fill {
        order: 1,
        lots: [4, 5],
    });
    bus.publish(&Changed(6));
    bus.publish(&Changed("seven"));
    assert_eq!(*seen.borrow(), ["5", "6", "seven"]);

    assert_eq!(<Get<u32>>::NAME, "get.u32");
    let mut key = None;
    Fill {
        order: 8,
        lots: [0; 2],
    }
    .ordering_key(&mut |k| key = Some(k.to_string()));
    assert_eq!(key.as_deref(), Some("8"));
}

type ChangedNumber = Changed<u8>;
mailbox! { enum Posted { event ChangedNumber } }

#[test]
fn a_mailbox_lists_a_message_with_type_arguments_under_an_alias() {
    let last = Cell::new(0);
    let bus = BusBuilder::new()
        .subscribe_fn(|changed: &Changed<u8>| last.set(changed.0))
        .mailbox::<Posted>(1)
        .build();
    bus.post(Changed(7));
    assert_eq!((bus.settle(), last.get()), (Ok(1), 7));
}

struct Tick<'a> {
    symbol: &'a str,
}
event!(Tick<'_>);
/// A message with two lifetimes, one inside the other.
struct Book<'b, 'a> {
    best: &'b Tick<'a>,
    others: &'b [Tick<'a>],
}
event!(Book<'_, '_> -> Result<(), usize>, name = "book");
struct Find<'a>(&'a str);
query!(Find<'a> -> Option<&'a str>, key = 0);
struct Store<'a, T>(&'a [T]);
command!(Store<'_, u8> -> Result<(), usize>, name = "store");
struct Load(&'static str);
command!(Load);

#[derive(Default)]
struct Symbols(RefCell<Vec<String>>);
impl Symbols {
    fn note(&self, symbol: &str) {
        self.0.borrow_mut().push(symbol.to_owned());
    }
}
impl<B> EventHandler<Tick<'_>, B> for Symbols {
    fn handle(&self, tick: &Tick<'_>, _: &B) {
        self.note(tick.symbol);
    }
}
/// Publishes what is in the event that it handles.
impl<'a, B: PublishEvent<Tick<'a>>> EventHandler<Book<'_, 'a>, B> for Symbols {
    fn handle(&self, book: &Book<'_, 'a>, bus: &B) -> Result<(), usize> {
        bus.publish(book.best);
        book.others.iter().for_each(|tick| bus.publish(tick));
        Err(book.others.len())
    }
}
/// Answers with a part of the query.
impl<'a, B> QueryHandler<Find<'a>, B> for Symbols {
    fn handle(&self, find: Find<'a>, _: &B) -> Option<&'a str> {
        find.0.split(' ').next_back()
    }
}
impl<B> CommandHandler<Store<'_, u8>, B> for Symbols {
    fn handle(&self, store: Store<'_, u8>, _: &B) -> Result<(), usize> {
        Err(store.0.len())
    }
}
/// Publishes and asks with data of its own, which it borrows for the call.
struct Loader;
impl<B> CommandHandler<Load, B> for Loader
where
    B: for<'a> PublishEvent<Tick<'a>>
        + for<'a, 'b> PublishEvent<Book<'a, 'b>>
        + for<'a> SendQuery<Find<'a>>
        + for<'a> ExecuteCommand<Store<'a, u8>>,
{
    fn handle(&self, load: Load, bus: &B) {
        let line = format!("loaded {}", load.0);
        let symbol = bus.send(Find(&line)).unwrap();
        bus.publish(&Tick { symbol });
        let (best, others) = (Tick { symbol: &line }, [Tick { symbol }]);
        let all = Book {
            best: &best,
            others: &others,
        };
        assert!(bus.publish(&all).is_err());
        assert_eq!(bus.execute(Store(line.as_bytes())), Err(line.len()));
    }
}

type Handlers<'s> = HList![
    OnEvent<Tick<'static>, &'s Symbols>,
    OnEvent<Book<'static, 'static>, &'s Symbols>,
    OnQuery<Find<'static>, &'s Symbols>,
    OnCommand<Store<'static, u8>, &'s Symbols>,
    OnCommand<Load, Loader>,
];
type Market<'s> = BusOf<Handlers<'s>>;
assert_wired!(Market<'_>: for<'a> PublishEvent<Tick<'a>>, for<'a> SendQuery<Find<'a>>, ExecuteCommand<Load>);

fn market(symbols: &Symbols) -> Market<'_> {
    let handlers: Handlers<'_> = hlist![
        on_event(symbols),
        on_event(symbols),
        on_query(symbols),
        on_command(symbols),
        on_command(Loader),
    ];
    BusBuilder::new().mount(handlers).build()
}

#[test]
fn a_bus_that_outlives_the_data_takes_messages_that_borrow_it() {
    let symbols = Symbols::default();
    let bus = market(&symbols);
    for n in 0..3 {
        let local = format!("T{n}");
        bus.publish(&Tick { symbol: &local });
        assert_eq!(bus.send(Find(&local)), Some(&*local));
        assert_eq!(bus.execute(Store(local.as_bytes())), Err(2));
    }
    assert_eq!(symbols.0.take(), ["T0", "T1", "T2"]);
}

#[test]
fn data_that_outlives_the_bus_is_borrowed_by_a_message_and_by_an_answer() {
    let local = String::from("a b");
    let tick = Tick { symbol: &local };
    let (symbols, found);
    {
        symbols = Symbols::default();
        let bus = market(&symbols);
        bus.publish(&tick);
        found = bus.send(Find(&local));
    }
    assert_eq!((found, tick.symbol), (Some("b"), "a b"));
    assert_eq!(symbols.0.take(), ["a b"]);
}

#[test]
fn handlers_publish_on_what_they_borrow_and_what_they_own() {
    let symbols = Symbols::default();
    let bus = market(&symbols);
    let outer = String::from("outer");
    for n in 1..3 {
        let (first, second) = (n.to_string(), (10 * n).to_string());
        let others = [Tick { symbol: &second }, Tick { symbol: &outer }];
        let best = Tick { symbol: &first };
        let error = bus
            .publish(&Book {
                best: &best,
                others: &others,
            })
            .unwrap_err();
        assert_eq!(error.failures()[0].error, 2);
    }
    bus.execute(Load("X"));
    let expected = ["1", "10", "outer", "2", "20", "outer", "X", "loaded X", "X"];
    assert_eq!(symbols.0.take(), expected);
}

#[test]
fn one_name_serves_all_lifetimes_and_a_mixed_registration_is_one_event() {
    assert!(Tick::NAME.ends_with("::Tick"), "{}", Tick::NAME);
    assert!(Find::NAME.ends_with("::Find"));
    let symbols = Symbols::default();
    let bus = BusBuilder::new()
        .subscribe::<Tick<'static>, _>(&symbols)
        .subscribe::<Tick<'_>, _>(&symbols)
        .mount(hlist![on_event::<Tick<'_>, _>(&symbols)])
        .build();
    let local = String::from("x");
    bus.publish(&Tick { symbol: &local });
    assert_eq!(symbols.0.take(), ["x"; 3]);
    let names: Vec<_> = bus
        .wiring()
        .registrations()
        .iter()
        .map(|r| r.message)
        .collect();
    assert_eq!(names, [Tick::NAME; 3]);
}

/// Gives a closure the signature that it would not be inferred to have: a function of every lifetime.
fn of_tick<F: Fn(&Tick<'_>)>(function: F) -> F {
    function
}

#[test]
fn a_function_and_a_closure_of_every_lifetime_subscribe_to_a_message_that_borrows() {
    thread_local! { static SEEN: RefCell<Vec<String>> = RefCell::default(); }
    fn on_tick(tick: &Tick<'_>) {
        SEEN.with_borrow_mut(|seen| seen.push(tick.symbol.to_owned()));
    }
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(on_tick)
        .subscribe_fn(of_tick(|tick| {
            seen.borrow_mut().push(tick.symbol.to_owned())
        }))
        .build();
    for n in 0..2 {
        let local = n.to_string();
        bus.publish(&Tick { symbol: &local });
    }
    assert_eq!(SEEN.take(), ["0", "1"]);
    assert_eq!(seen.take(), ["0", "1"]);
}

#[test]
fn a_closure_of_one_lifetime_takes_data_that_outlives_the_bus() {
    let data = [String::from("a"), String::from("b")];
    let longest = Cell::new("");
    let bus = BusBuilder::new()
        .subscribe_fn(|tick: &Tick<'_>| longest.set(tick.symbol))
        .build();
    for symbol in &data {
        bus.publish(&Tick { symbol });
    }
    assert_eq!(longest.get(), "b"); // what it borrows can be kept
}

/// A message that borrows, declared by hand.
struct Quote<'a>(&'a str);
impl Message for Quote<'_> {
    const NAME: &'static str = "quote";
    type NameKey = static_bus::key::Borrowed<name_key!("quote"), Quote<'static>>;
}
impl Event for Quote<'_> {
    type Output = ();
}

#[test]
fn a_message_that_borrows_can_be_declared_by_hand() {
    fn relay(bus: &impl for<'a> PublishEvent<Quote<'a>>) {
        bus.publish(&Quote(&String::from("q")));
    }
    fn length(quote: &Quote<'_>) {
        assert_eq!(quote.0.len(), 1);
    }
    relay(&BusBuilder::new().subscribe_fn(length).build());
    relay(&BusBuilder::new().build());
}

#[test]
fn a_settling_bus_of_messages_that_borrow_has_a_mailbox_of_others() {
    type Settling = BusOf<HList![OnEvent<Tick<'static>, Symbols>], Mailbox<Posted>>;
    let bus: Settling = BusBuilder::new()
        .mount(hlist![on_event::<Tick<'static>, _>(Symbols::default())])
        .mailbox::<Posted>(1)
        .build();
    bus.post(Changed(1));
    bus.publish(&Tick {
        symbol: &String::from("t"),
    });
    assert_eq!(bus.settle(), Ok(1));
}
