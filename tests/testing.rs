//! The recorder and the stand-ins of the feature `testing`.
#![cfg(feature = "testing")]

use static_bus::testing::{Recorder, Spy, Stub};
use static_bus::{assert_needs, prelude::*};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

#[derive(Clone, Debug, PartialEq)]
struct GetPrice(&'static str);
query!(GetPrice -> u32);
#[derive(Clone, Debug, PartialEq)]
struct Buy(&'static str);
command!(Buy -> Result<(), &'static str>);
#[derive(Clone, Debug, PartialEq)]
struct Bought(u32);
event!(Bought, name = "shop.bought");
/// Neither `Clone` nor `Debug`.
struct Close;
command!(Close);
#[derive(Clone, Debug, PartialEq)]
struct Tick<'a>(&'a str);
event!(Tick<'_>);

#[derive(Clone, Default)]
struct Shop;
impl<B: SendQuery<GetPrice> + PublishEvent<Bought>> CommandHandler<Buy, B> for Shop {
    fn handle(&self, command: Buy, bus: &B) -> Result<(), &'static str> {
        let price = bus.send(GetPrice(command.0));
        if price > 100 {
            return Err("too expensive");
        }
        bus.publish(&Bought(price));
        bus.publish(&Bought(price + 1));
        Ok(())
    }
}
type ShopModule = HList![OnCommand<Buy, Shop>];

/// A bus within a recorder, and the recorder.
macro_rules! recorded {
    ($($registration:tt)*) => {{
        let recorder = Recorder::new();
        (BusBuilder::new()$($registration)*.layer(recorder.clone()).build(), recorder)
    }};
}
fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    *panic.downcast::<String>().expect("the panic has a text")
}

#[test]
fn messages_are_kept_as_values_in_order() {
    let (bus, recorder) = recorded!(
        .register_command(Shop)
        .register_query_fn(|query: GetPrice| query.0.len() as u32 * 10)
        .subscribe_fn(|_: &Bought| ())
        .subscribe(Spy::<Bought>::new()));
    bus.execute(Buy("lamp")).unwrap();
    bus.execute(Buy("sofa, very large")).unwrap_err();
    assert_eq!(
        recorder.executed::<Buy>(),
        [Buy("lamp"), Buy("sofa, very large")]
    );
    assert_eq!(recorder.sent::<GetPrice>().len(), 2);
    // Each once, although there are two subscribers.
    assert_eq!(recorder.published::<Bought>(), [Bought(40), Bought(41)]);
    recorder.assert_executed(&Buy("lamp"));
    recorder.assert_sent(&GetPrice("lamp"));
    recorder.assert_published(&Bought(41));
    recorder.assert_count::<Bought>(2);
}

#[test]
fn the_tree_says_who_sent_what_to_whom() {
    let (bus, recorder) = recorded!(
        .register_command(Shop)
        .register_query_fn(|query: GetPrice| query.0.len() as u32 * 10)
        .subscribe_fn(|_: &Bought| ())
        .subscribe_fn(|_: &Bought| ())
        .register_command_fn(|_: Close| ()));
    bus.execute(Buy("lamp")).unwrap();
    bus.execute(Buy("sofa, very large")).unwrap_err();
    bus.execute(Close);
    let here = "testing::the_tree_says_who_sent_what_to_whom::{{closure}}";
    assert_eq!(
        recorder.to_string(),
        format!(
            "execute Buy(\"lamp\") -> testing::Shop
  send GetPrice(\"lamp\") -> {here}
  publish Bought(40)
    -> {here}
    -> {here}
  publish Bought(41)
    -> {here}
    -> {here}
execute Buy(\"sofa, very large\") -> testing::Shop (failed)
  send GetPrice(\"sofa, very large\") -> {here}
execute Close -> {here}
"
        )
    );
}

#[test]
fn a_failed_assertion_prints_what_was_sent_instead() {
    let (bus, recorder) = recorded!(.subscribe_fn(|_: &Bought| ()));
    let failure = |check: &dyn Fn()| message(catch_unwind(AssertUnwindSafe(check)).unwrap_err());
    let text = failure(&|| recorder.assert_published(&Bought(1)));
    assert_eq!(
        text,
        "Bought(1) is not among the messages:\n(nothing was sent)\n"
    );
    bus.publish(&Bought(2));
    let text = failure(&|| recorder.assert_published(&Bought(1)));
    assert!(
        text.starts_with("Bought(1) is not among the messages:\npublish Bought(2) -> testing::"),
        "{text}"
    );
    let text = failure(&|| recorder.assert_count::<Bought>(3));
    assert!(
        text.starts_with("messages shop.bought: 1, and not 3:\npublish Bought(2)"),
        "{text}"
    );
}

#[test]
fn a_message_that_cannot_be_copied_is_kept_without_its_value() {
    let (bus, recorder) =
        recorded!(.register_command_fn(|_: Close| ()).subscribe_fn(|_: &Tick<'_>| ()));
    bus.execute(Close);
    let text = String::from("now");
    bus.publish(&Tick(&text));
    assert_eq!(recorder.count::<Close>(), 1);
    assert_eq!(recorder.count::<Tick<'_>>(), 1);
    assert!(
        recorder.to_string().contains("publish Tick(\"now\") -> "),
        "{recorder}"
    );
    let panic =
        catch_unwind(AssertUnwindSafe(|| recorder.published::<Tick<'static>>())).unwrap_err();
    assert!(message(panic).contains("has to be `Clone`, `Send` and `Sync`"));
}

#[test]
fn after_a_panic_of_a_handler_the_next_message_comes_from_outside() {
    let (bus, recorder) = recorded!(
        .register_query_fn(|query: GetPrice| 10 / query.0.len() as u32)
        .register_command_fn(|_: Close| ()));
    catch_unwind(AssertUnwindSafe(|| bus.send::<GetPrice>(GetPrice("")))).unwrap_err();
    bus.execute(Close);
    let tree = recorder.to_string();
    assert!(
        tree.lines().next().unwrap().ends_with(" (did not end)"),
        "{tree}"
    );
    assert!(
        tree.lines().nth(1).unwrap().starts_with("execute Close"),
        "{tree}"
    );
}

#[test]
fn threads_have_senders_of_their_own() {
    let (bus, recorder) = recorded!(
        .register_command(Shop)
        .register_query_fn(|_: GetPrice| 7)
        .subscribe(Spy::<Bought>::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| bus.execute(Buy("lamp")).unwrap()));
        }
    });
    assert_eq!(recorder.executed::<Buy>().len(), 200);
    let tree = recorder.to_string();
    assert_eq!(
        tree.lines()
            .filter(|line| line.starts_with("execute"))
            .count(),
        200
    );
    assert_eq!(
        tree.lines()
            .filter(|line| line.starts_with("  publish"))
            .count(),
        400
    );
}

#[test]
fn two_recorders_do_not_see_each_others_senders() {
    let (outer, inner) = (Recorder::new(), Recorder::new());
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetPrice| 7)
        .subscribe(Spy::<Bought>::new())
        .layer(inner.clone())
        .register_command(Shop)
        .layer(outer.clone())
        .build();
    bus.execute(Buy("lamp")).unwrap();
    assert!(inner.to_string().starts_with("send GetPrice"), "{inner}");
    assert!(outer.to_string().starts_with("execute Buy"), "{outer}");
    assert_eq!(inner.published::<Bought>(), outer.published::<Bought>());
}

#[test]
fn what_still_runs_when_a_recorder_is_cleared_comes_from_outside() {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    struct Slow;
    impl<B: AsyncSendQuery<GetPrice>> AsyncCommandHandler<Close, B> for Slow {
        async fn handle(
            &self,
            _: Close,
            bus: &B,
        ) -> Result<(), static_bus::asynchronous::BusError> {
            let mut polls = 0;
            poll_fn(|_| {
                polls += 1;
                if polls > 1 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            bus.send_async(GetPrice("late")).await.map(drop)
        }
    }
    let (bus, recorder) = recorded!(
        .register_query_fn(|_: GetPrice| 7)
        .register_command_async::<Close, _>(Slow));
    let mut context = Context::from_waker(Waker::noop());
    let mut closing = pin!(bus.execute_async(Close));
    assert!(closing.as_mut().poll(&mut context).is_pending());
    recorder.clear();
    bus.send::<GetPrice>(GetPrice("first"));
    assert!(closing.as_mut().poll(&mut context).is_ready());
    let tree = recorder.to_string();
    let lines: Vec<_> = tree
        .lines()
        .map(|line| line.split(" -> ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["send GetPrice(\"first\")", "send GetPrice(\"late\")"]
    );
    assert!(!tree.contains("did not end"), "{tree}");
    assert!(recorder.graph().dot().contains("\"outside\" -> "));
}

#[test]
fn events_at_one_address_from_several_buses_are_several_publications() {
    let recorder = Recorder::new();
    let bus = || {
        BusBuilder::new()
            .subscribe_fn(|_: &Bought| ())
            .layer(recorder.clone())
            .build()
    };
    for (n, bus) in [bus(), bus()].iter().enumerate() {
        bus.publish(&Bought(n as u32));
    }
    assert_eq!(recorder.published::<Bought>(), [Bought(0), Bought(1)]);
}

/// Its `Clone` and `Debug` use the recorder.
struct Nosy(Recorder);
command!(Nosy);
impl Clone for Nosy {
    fn clone(&self) -> Self {
        Nosy(self.0.clone())
    }
}
impl std::fmt::Debug for Nosy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nosy({})", self.0.count::<Nosy>())
    }
}

#[test]
fn a_message_may_use_the_recorder_while_it_is_copied_or_printed() {
    let (bus, recorder) = recorded!(.register_command_fn(|_: Nosy| ()));
    bus.execute(Nosy(recorder.clone()));
    bus.execute(Nosy(recorder.clone()));
    assert_eq!(recorder.executed::<Nosy>().len(), 2);
    assert!(
        recorder.to_string().contains("execute Nosy(1)"),
        "{recorder}"
    );
    recorder.clear();
    assert_eq!(recorder.count::<Nosy>(), 0);
}

#[test]
fn asynchronous_handlers_that_interleave_are_told_apart() {
    use static_bus::asynchronous::BusError;

    struct Slow;
    impl<B: AsyncSendQuery<GetPrice>> AsyncCommandHandler<Buy, B> for Slow {
        async fn handle(&self, command: Buy, bus: &B) -> Result<(), BusError> {
            tokio::task::yield_now().await;
            let price = bus.send_async(GetPrice(command.0)).await?;
            tokio::task::yield_now().await;
            match price {
                0 => Err(BusError::refused::<Buy>("free")),
                _ => Ok(()),
            }
        }
    }
    let (bus, recorder) = recorded!(
    .register_command_async::<Buy, _>(Slow)
    .register_query_async_fn(|query: GetPrice| async move {
        tokio::task::yield_now().await;
        Ok(query.0.len() as u32)
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (lamp, nothing) =
            tokio::join!(bus.execute_async(Buy("lamp")), bus.execute_async(Buy("")));
        lamp.unwrap();
        nothing.unwrap_err();
    });
    let tree = recorder.to_string();
    let lines: Vec<_> = tree
        .lines()
        .map(|line| line.split(" -> ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "execute Buy(\"lamp\")",
            "  send GetPrice(\"lamp\")",
            "execute Buy(\"\")",
            "  send GetPrice(\"\")"
        ]
    );
    assert!(tree.contains("Buy(\"\") -> testing::asynchronous_handlers_that_interleave_are_told_apart::Slow (failed)"), "{tree}");
}

#[test]
fn stand_ins_have_types_and_count() {
    type TestBus = BusOf<
        HList![
            ShopModule,
            OnQuery<GetPrice, Stub<GetPrice>>,
            OnCommand<Close, Stub<Close>>,
            OnEvent<Bought, Spy<Bought>>,
        ],
    >;
    let (price, close, bought) = (
        Stub::<GetPrice>::answers(|query| query.0.len() as u32),
        Stub::<Close>::handles(|_| ()),
        Spy::<Bought>::new(),
    );
    let bus: TestBus = BusBuilder::new()
        .mount(hlist![on_command::<Buy, _>(Shop)])
        .register_query(price.clone())
        .register_command(close.clone())
        .subscribe(bought.clone())
        .build_as();
    bus.execute(Buy("lamp")).unwrap();
    bus.execute(Close);
    assert_eq!((price.calls(), close.calls(), bought.count()), (1, 1, 2));
    assert_eq!(bought.events(), [Bought(4), Bought(5)]);
}

#[test]
fn a_module_that_posts_borrows_or_waits_states_its_needs() {
    use static_bus::asynchronous::BusError;

    struct Clock;
    impl<B> QueryHandler<GetPrice, B> for Clock
    where
        B: for<'a> PublishEvent<Tick<'a>> + PostMessage<Bought> + ExecuteCommand<Close>,
    {
        fn handle(&self, _: GetPrice, bus: &B) -> u32 {
            bus.publish(&Tick("now"));
            bus.post(Bought(1));
            bus.execute(Close);
            1
        }
    }
    // Its own query is no need from outside.
    impl<B: AsyncSendQuery<GetPrice> + AsyncPublishEvent<Bought>> AsyncCommandHandler<Buy, B>
        for Clock
    {
        async fn handle(&self, command: Buy, bus: &B) -> Result<(), BusError> {
            let price = bus.send_async(GetPrice(command.0)).await?;
            bus.publish_async(&Bought(price)).await
        }
    }
    fn module() -> HList![OnQuery<GetPrice, Clock>, OnCommandAsync<Buy, Clock>] {
        hlist![on_query(Clock), on_command_async(Clock)]
    }
    assert_needs!(
        module(): PublishEvent<Tick<'_>>, PostMessage<Bought>, ExecuteCommand<Close>, AsyncPublishEvent<Bought>
    );
}
