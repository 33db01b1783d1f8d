//! Asynchronous and synchronous handlers on one bus, from the builder and from modules.

use std::sync::Mutex;

use static_bus::{asynchronous::BusError, prelude::*, wiring::Kind};

use crate::ready;

struct GetName;
query!(GetName -> &'static str, name = "a.get_name");
struct GetAge;
query!(GetAge -> u32, name = "b.get_age");
struct Rename;
command!(Rename, name = "c.rename");
struct Renamed;
event!(Renamed, name = "d.renamed");

#[derive(Clone)]
struct Users;
impl<B> AsyncQueryHandler<GetName, B> for Users {
    async fn handle(&self, _: GetName, _bus: &B) -> Result<&'static str, BusError> {
        Ok("Ada")
    }
}
impl<B> QueryHandler<GetAge, B> for Users {
    fn handle(&self, _: GetAge, _bus: &B) -> u32 {
        36
    }
}
impl<B: AsyncPublishEvent<Renamed>> AsyncCommandHandler<Rename, B> for Users {
    async fn handle(&self, _: Rename, bus: &B) -> Result<(), BusError> {
        bus.publish_async(&Renamed).await
    }
}
impl<B: AsyncSendQuery<GetName> + SendQuery<GetAge>> AsyncEventHandler<Renamed, B> for Users {
    async fn handle(&self, _: &Renamed, bus: &B) -> Result<(), BusError> {
        assert_eq!(bus.send_async(GetName).await?, "Ada");
        assert_eq!(bus.send(GetAge), 36);
        Ok(())
    }
}
impl<B> EventHandler<Renamed, B> for Users {
    fn handle(&self, _: &Renamed, _bus: &B) {}
}

type Handlers = HList![
    OnQueryAsync<GetName, Users>,
    OnQuery<GetAge, Users>,
    OnCommandAsync<Rename, Users>,
    OnEventAsync<Renamed, Users>,
    OnEvent<Renamed, Users>,
];
fn module() -> Handlers {
    hlist![
        on_query_async(Users),
        on_query(Users),
        on_command_async(Users),
        on_event_async(Users),
        on_event(Users),
    ]
}
type AppBus = BusOf<Handlers>;
assert_wired!(AppBus: AsyncSendQuery<GetName>, AsyncSendQuery<GetAge>, SendQuery<GetAge>);
assert_wired!(AppBus: AsyncExecuteCommand<Rename>, AsyncPublishEvent<Renamed>);

#[test]
fn a_module_of_both_kinds_makes_the_bus_that_a_builder_makes() {
    let mounted: AppBus = BusBuilder::new().mount(module()).build();
    let built: AppBus = BusBuilder::new()
        .register_query_async::<GetName, _>(Users)
        .register_query::<GetAge, _>(Users)
        .register_command_async::<Rename, _>(Users)
        .subscribe_async::<Renamed, _>(Users)
        .subscribe::<Renamed, _>(Users)
        .build();
    for bus in [mounted.clone(), built] {
        ready(bus.execute_async(Rename)).unwrap();
        assert_eq!(ready(bus.send_async(GetAge)).unwrap(), 36);
    }
}

#[test]
fn the_wiring_lists_asynchronous_handlers_like_others() {
    let bus = BusBuilder::new().mount(module()).build();
    let wiring = bus.wiring();
    let mut lines: Vec<_> = wiring
        .registrations()
        .iter()
        .map(|it| (it.message, it.kind))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            ("a.get_name", Kind::Query),
            ("b.get_age", Kind::Query),
            ("c.rename", Kind::Command),
            ("d.renamed", Kind::Event),
            ("d.renamed", Kind::Event),
        ]
    );
    assert!(
        wiring
            .registrations()
            .iter()
            .all(|it| it.handler.ends_with("::Users"))
    );
}

/// Subscribers registered one by one, from one module, and from several modules.
#[test]
fn an_event_has_one_list_of_subscribers_of_both_kinds_in_registration_order() {
    let seen = &Mutex::new(Vec::new());
    let waits = |n| {
        move |_: &Renamed| {
            seen.lock().unwrap().push(n);
            async { Ok(()) }
        }
    };
    let does_not = |n| move |_: &Renamed| seen.lock().unwrap().push(n);
    let bus = BusBuilder::new()
        .subscribe_fn(does_not(1))
        .mount(hlist![
            on_event_async_fn(waits(2)),
            on_event_fn(does_not(3))
        ])
        .subscribe_async_fn(waits(4))
        .mount(hlist![on_event_fn(does_not(5))])
        .mount(hlist![
            on_event_fn(does_not(6)),
            on_event_async_fn(waits(7))
        ])
        .build();
    ready(bus.publish_async(&Renamed)).unwrap();
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn closures_can_be_entries() {
    let bus = BusBuilder::new()
        .mount(hlist![
            on_query_async_fn(|_: GetName| async { Ok("Eve") }),
            on_command_async_fn(|_: Rename| async { Err(BusError::refused::<Rename>("no")) }),
        ])
        .build();
    assert_eq!(ready(bus.send_async(GetName)).unwrap(), "Eve");
    assert!(ready(bus.execute_async(Rename)).is_err());
}

/// A bus can be any type that implements the traits.
#[test]
fn a_double_can_stand_in_for_the_bus() {
    struct Double;
    impl AsyncPublishEvent<Renamed> for Double {
        async fn publish_async(&self, _: &Renamed) -> Result<(), BusError> {
            Err(BusError::NoHandler {
                message: Renamed::NAME,
            })
        }
    }
    let error = ready(AsyncCommandHandler::handle(&Users, Rename, &Double)).unwrap_err();
    assert!(matches!(error, BusError::NoHandler { .. }));
}
