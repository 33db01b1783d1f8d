//! Modules: structs and lists, nested, generic and large, and the bus whose type they name.
#![cfg(feature = "alloc")]

use static_bus::mailbox::Mailbox;
use static_bus::prelude::*;
use static_bus::wiring::Kind;
use std::{cell::RefCell, rc::Rc};

struct GetUser;
query!(GetUser -> &'static str);
struct GetOrder;
query!(GetOrder -> u32);
struct Cancel;
command!(Cancel);
struct Joined;
event!(Joined);

type Log = Rc<RefCell<Vec<&'static str>>>;

/// Handles every message, and writes its name.
#[derive(Clone)]
struct Scribe(&'static str, Log);
impl Scribe {
    fn write(&self) {
        self.1.borrow_mut().push(self.0);
    }
}
impl<B> QueryHandler<GetUser, B> for Scribe {
    fn handle(&self, _: GetUser, _: &B) -> &'static str {
        self.0
    }
}
impl<B> CommandHandler<Cancel, B> for Scribe {
    fn handle(&self, _: Cancel, _: &B) {
        self.write();
    }
}
impl<B> EventHandler<Joined, B> for Scribe {
    fn handle(&self, _: &Joined, _: &B) {
        self.write();
    }
}

/// A handler without `Clone`.
struct Once(u32);
impl<B> QueryHandler<GetOrder, B> for Once {
    fn handle(&self, _: GetOrder, _: &B) -> u32 {
        self.0
    }
}

module! {
    /// Three messages of one handler.
    struct Users {
        scribe: Scribe => [query GetUser, command Cancel, event Joined],
    }
}
module! {
    struct Orders<'a, H, O>
    where
        H: Clone,
        O: Clone,
    {
        /// A handler that is borrowed.
        once: &'a Once => [query GetOrder],
        first: H => [event Joined],
        second: O => [event Joined],
    }
}
module! {
    struct App<'a> {
        before: Users,
        orders: Orders<'a, Scribe, Scribe>,
    }
}
module! {
    struct Nothing {}
}

fn log() -> Log {
    Rc::default()
}

fn app<'a>(log: &Log, once: &'a Once) -> App<'a> {
    let scribe = |name| Scribe(name, log.clone());
    App {
        before: Users {
            scribe: scribe("users"),
        },
        orders: Orders {
            once,
            first: scribe("first"),
            second: scribe("second"),
        },
    }
}

#[test]
fn a_module_of_modules_mounts_all_in_the_order_of_its_fields() {
    let (log, once) = (log(), Once(7));
    let bus: BusOf<App> = BusBuilder::new().mount(app(&log, &once)).build();

    assert_eq!(bus.send::<GetUser>(GetUser), "users");
    assert_eq!(bus.send::<GetOrder>(GetOrder), 7);
    bus.publish(&Joined);
    assert_eq!(*log.borrow(), ["users", "first", "second"]);
    bus.execute(Cancel);
    assert_eq!(log.borrow().last(), Some(&"users"));
}

#[test]
fn a_list_of_modules_is_a_module() {
    let (log, once) = (log(), Once(7));
    let App { before, orders } = app(&log, &once);
    let bus: BusOf<HList![Users, HList![Orders<Scribe, Scribe>], Nothing]> = BusBuilder::new()
        .mount(hlist![before, hlist![orders], Nothing {}])
        .build();
    bus.publish(&Joined);
    assert_eq!(*log.borrow(), ["users", "first", "second"]);
}

#[test]
fn an_entry_is_a_module() {
    let bus = BusBuilder::new()
        .mount(on_query::<GetOrder, _>(Once(3)))
        .build();
    assert_eq!(bus.send::<GetOrder>(GetOrder), 3);
}

/// Two in one bucket, and all of them in the reverse order.
#[test]
fn build_as_takes_different_messages_in_any_order() {
    let (log, once) = (log(), Once(7));
    let App { before, orders } = app(&log, &once);
    let Orders {
        once,
        first,
        second,
    } = orders;
    let bus: BusOf<App> = BusBuilder::new()
        .subscribe(before.scribe.clone())
        .register_query(once)
        .register_command(before.scribe.clone())
        .subscribe(first)
        .register_query(before.scribe)
        .subscribe(second)
        .build_as();
    assert_eq!(bus.send::<GetUser>(GetUser), "users");
    assert_eq!(bus.send::<GetOrder>(GetOrder), 7);
    bus.publish(&Joined);
    assert_eq!(*log.borrow(), ["users", "first", "second"]);
    let listed = bus.wiring();
    let kinds = |kind| {
        let all = listed.registrations().iter();
        all.filter(|registration| registration.kind == kind).count()
    };
    assert_eq!(
        [Kind::Query, Kind::Command, Kind::Event].map(kinds),
        [2, 1, 3]
    );
}

/// The types of a chain and of a list with the same order are the same.
#[test]
fn build_gives_the_type_of_a_list_in_the_same_order() {
    let bus: BusOf<HList![OnQuery<GetOrder, Once>, OnCommand<Cancel, Scribe>]> = BusBuilder::new()
        .register_query(Once(1))
        .register_command(Scribe("cancel", log()))
        .build();
    assert_eq!(bus.send::<GetOrder>(GetOrder), 1);
}

mailbox! { enum Cascade { event Joined } }

#[test]
fn build_as_keeps_the_mailbox() {
    let log = log();
    let bus: BusOf<Users, Mailbox<Cascade>> = BusBuilder::new()
        .mount(Users {
            scribe: Scribe("users", log.clone()),
        })
        .mailbox::<Cascade>(4)
        .build_as();
    bus.post(Joined);
    assert_eq!(bus.settle(), Ok(1));
    assert_eq!(*log.borrow(), ["users"]);
}

/// `H` is a parameter of the function that wires it.
fn generic<H>(handler: H) -> BusOf<HList![OnQuery<GetUser, H>]>
where
    H: QueryHandler<GetUser, BusOf<HList![OnQuery<GetUser, H>]>>,
{
    BusBuilder::new()
        .mount(hlist![on_query::<GetUser, _>(handler)])
        .build()
}

#[test]
fn a_handler_type_may_be_a_parameter() {
    let bus = generic(Scribe("generic", log()));
    assert_eq!(SendQuery::<GetUser>::send(&bus, GetUser), "generic");
}

/// A list of 200 entries, and a struct of 200 handlers, under the default recursion limit.
mod large {
    use super::*;

    struct Ask<const N: usize>;
    macro_rules! messages {
        ($($n:literal)*) => { $(
            impl Message for Ask<$n> {
                const NAME: &'static str = concat!("ask.", $n);
                type NameKey = name_key!(concat!("ask.", $n));
            }
            impl Query for Ask<$n> {
                type Response = usize;
            }
        )* };
    }
    #[derive(Default)]
    struct Answer<const N: usize>;
    impl<B, const N: usize> QueryHandler<Ask<N>, B> for Answer<N>
    where
        Ask<N>: Query<Response = usize>,
    {
        fn handle(&self, _: Ask<N>, _: &B) -> usize {
            N
        }
    }

    macro_rules! all {
        ($($n:literal $field:ident)*) => {
            messages!($($n)*);
            type Listed = HList![$(OnQuery<Ask<$n>, Answer<$n>>),*];
            fn listed() -> Listed {
                hlist![$(on_query(Answer::<$n>)),*]
            }
            module! {
                #[derive(Default)]
                struct Fields {
                    $($field: Answer<$n> => [query Ask<$n>],)*
                }
            }
            fn sum<B>(bus: &B) -> usize
            where
                $(B: SendQuery<Ask<$n>>,)*
            {
                0 $(+ bus.send(Ask::<$n>))*
            }
        };
    }
    all! {
        0 f0 1 f1 2 f2 3 f3 4 f4 5 f5 6 f6 7 f7 8 f8 9 f9
        10 f10 11 f11 12 f12 13 f13 14 f14 15 f15 16 f16 17 f17 18 f18 19 f19
        20 f20 21 f21 22 f22 23 f23 24 f24 25 f25 26 f26 27 f27 28 f28 29 f29
        30 f30 31 f31 32 f32 33 f33 34 f34 35 f35 36 f36 37 f37 38 f38 39 f39
        40 f40 41 f41 42 f42 43 f43 44 f44 45 f45 46 f46 47 f47 48 f48 49 f49
        50 f50 51 f51 52 f52 53 f53 54 f54 55 f55 56 f56 57 f57 58 f58 59 f59
        60 f60 61 f61 62 f62 63 f63 64 f64 65 f65 66 f66 67 f67 68 f68 69 f69
        70 f70 71 f71 72 f72 73 f73 74 f74 75 f75 76 f76 77 f77 78 f78 79 f79
        80 f80 81 f81 82 f82 83 f83 84 f84 85 f85 86 f86 87 f87 88 f88 89 f89
        90 f90 91 f91 92 f92 93 f93 94 f94 95 f95 96 f96 97 f97 98 f98 99 f99
        100 f100 101 f101 102 f102 103 f103 104 f104 105 f105 106 f106 107 f107 108 f108 109 f109
        110 f110 111 f111 112 f112 113 f113 114 f114 115 f115 116 f116 117 f117 118 f118 119 f119
        120 f120 121 f121 122 f122 123 f123 124 f124 125 f125 126 f126 127 f127 128 f128 129 f129
        130 f130 131 f131 132 f132 133 f133 134 f134 135 f135 136 f136 137 f137 138 f138 139 f139
        140 f140 141 f141 142 f142 143 f143 144 f144 145 f145 146 f146 147 f147 148 f148 149 f149
        150 f150 151 f151 152 f152 153 f153 154 f154 155 f155 156 f156 157 f157 158 f158 159 f159
        160 f160 161 f161 162 f162 163 f163 164 f164 165 f165 166 f166 167 f167 168 f168 169 f169
        170 f170 171 f171 172 f172 173 f173 174 f174 175 f175 176 f176 177 f177 178 f178 179 f179
        180 f180 181 f181 182 f182 183 f183 184 f184 185 f185 186 f186 187 f187 188 f188 189 f189
        190 f190 191 f191 192 f192 193 f193 194 f194 195 f195 196 f196 197 f197 198 f198 199 f199
    }

    #[test]
    fn two_hundred_entries_of_a_list() {
        let bus: BusOf<Listed> = BusBuilder::new().mount(listed()).build_as();
        assert_eq!(sum(&bus), 199 * 200 / 2);
    }

    #[test]
    fn two_hundred_handlers_of_a_struct() {
        let bus: BusOf<Fields> = BusBuilder::new().mount(Fields::default()).build_as();
        assert_eq!(sum(&bus), 199 * 200 / 2);
    }
}

#[cfg(feature = "async")]
mod asynchronous {
    use super::*;
    use static_bus::asynchronous::BusError;

    #[derive(Clone)]
    struct Waiter;
    impl<B: Sync> AsyncQueryHandler<GetUser, B> for Waiter {
        async fn handle(&self, _: GetUser, _: &B) -> Result<&'static str, BusError> {
            Ok("waiter")
        }
    }
    impl<B: AsyncSendQuery<GetUser>> AsyncCommandHandler<Cancel, B> for Waiter {
        async fn handle(&self, _: Cancel, bus: &B) -> Result<(), BusError> {
            assert_eq!(bus.send_async(GetUser).await?, "waiter");
            Ok(())
        }
    }
    impl<B: Sync> AsyncEventHandler<Joined, B> for Waiter {
        async fn handle(&self, _: &Joined, _: &B) -> Result<(), BusError> {
            Err(BusError::rejected::<Joined>("nobody joins"))
        }
    }
    module! {
        struct Waiting {
            waiter: Waiter => [async query GetUser, async command Cancel, async event Joined],
            once: Once => [query GetOrder],
        }
    }

    fn waiting() -> Waiting {
        Waiting {
            waiter: Waiter,
            once: Once(5),
        }
    }

    #[tokio::test]
    async fn a_module_may_hold_both_kinds_of_handlers() {
        let bus: BusOf<Waiting> = BusBuilder::new().mount(waiting()).build_as();
        assert_eq!(bus.send_async(GetUser).await.unwrap(), "waiter");
        bus.execute_async(Cancel).await.unwrap();
        assert!(bus.publish_async(&Joined).await.is_err());
        assert_eq!(bus.send::<GetOrder>(GetOrder), 5);
    }

    #[tokio::test]
    async fn the_message_of_an_asynchronous_handler_is_inferred() {
        let bus: BusOf<Waiting> = BusBuilder::new()
            .register_query_async(Waiter)
            .register_command_async(Waiter)
            .subscribe_async(Waiter)
            .register_query(Once(5))
            .build_as();
        assert_eq!(bus.send_async(GetUser).await.unwrap(), "waiter");
    }
}
