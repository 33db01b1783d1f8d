//! Layers around asynchronous handlers.

use std::sync::{Arc, Mutex};

use static_bus::asynchronous::BusError;
use static_bus::layer::{
    AroundEvent, AroundQuery, AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, Layer,
    NextCommand, NextEvent, NextQuery,
};
use static_bus::{prelude::*, wiring::Registration};

use crate::ready;

#[derive(Clone)]
struct Double(u32);
query!(Double -> u32, name = "double");
struct Store;
command!(Store, name = "store");
struct Stored;
event!(Stored, name = "stored");

type Log = Arc<Mutex<Vec<String>>>;
fn lines(log: &Log) -> Vec<String> {
    log.lock().unwrap().drain(..).collect()
}

/// Notes the begin and the end of each message.
#[derive(Clone)]
struct Noted {
    name: &'static str,
    log: Log,
}
impl Layer for Noted {
    type Around = Noted;
    fn around(&self, _: Registration) -> Noted {
        self.clone()
    }
}
impl Noted {
    fn note(&self, text: &str) {
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {text}", self.name));
    }
}
impl<Q: Query + Send, B: ?Sized> AsyncAroundQuery<Q, B> for Noted {
    async fn query(
        &self,
        query: Q,
        _bus: &B,
        next: impl NextQuery<Q>,
    ) -> Result<Q::Response, BusError> {
        self.note("before");
        let answer = next.run(query).await;
        self.note("after");
        answer
    }
}
impl<C: Command + Send, B: ?Sized> AsyncAroundCommand<C, B> for Noted {
    async fn command(
        &self,
        command: C,
        _bus: &B,
        next: impl NextCommand<C>,
    ) -> Result<(), BusError> {
        self.note("before");
        let result = next.run(command).await;
        self.note(if result.is_ok() {
            "after"
        } else {
            "after an error"
        });
        result
    }
}
impl<E: Event + Sync, B: ?Sized> AsyncAroundEvent<E, B> for Noted {
    async fn event(&self, event: &E, _bus: &B, next: impl NextEvent<E>) -> Result<(), BusError> {
        self.note("before");
        let result = next.run(event).await;
        self.note("after");
        result
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Noted {
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        self.note("before, at once");
        next(query)
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Noted {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        self.note("before, at once");
        next(event)
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

#[test]
fn asynchronous_calls_pass_the_layers_from_the_outermost() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_async_fn(|n: Double| async move { Ok(n.0 * 2) })
        .register_command_async_fn(|_: Store| async { Err(BusError::refused::<Store>("full")) })
        .layer(layer("a"))
        .layer(layer("b"))
        .layer(layer("c"))
        .build();
    assert_eq!(ready(bus.send_async(Double(21))).unwrap(), 42);
    let nested = [
        "c before", "b before", "a before", "a after", "b after", "c after",
    ];
    assert_eq!(lines(&log), nested);
    let error = ready(bus.execute_async(Store)).unwrap_err();
    assert_eq!(error.to_string(), "store: its handler failed: full");
    assert_eq!(
        lines(&log)[3..],
        ["a after an error", "b after an error", "c after an error"]
    );
}

#[test]
fn the_future_of_a_call_through_layers_is_sent_to_another_thread() {
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    let (_, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_async_fn(|n: Double| async move { Ok(n.0 * 2) })
        .layer(layer("a"))
        .layer(layer("b"))
        .build();
    assert_eq!(ready(is_send(bus.send_async(Double(4)))).unwrap(), 8);
}

#[test]
fn a_synchronous_handler_passes_the_synchronous_side_of_a_layer() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_fn(|n: Double| n.0 * 2)
        .layer(layer("a"))
        .build();
    assert_eq!(ready(bus.send_async(Double(21))).unwrap(), 42);
    assert_eq!(bus.send::<Double>(Double(21)), 42);
    assert_eq!(lines(&log), ["a before, at once", "a before, at once"]);
}

#[test]
fn all_subscribers_of_an_event_with_an_asynchronous_one_pass_the_asynchronous_side() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .subscribe_fn(|_: &Stored| ())
        .subscribe_async_fn(|_: &Stored| async { Ok(()) })
        .layer(layer("a"))
        .subscribe_fn(|_: &Stored| ())
        .build();
    ready(bus.publish_async(&Stored)).unwrap();
    assert_eq!(lines(&log), ["a before", "a after", "a before", "a after"]);
}

#[test]
fn subscribers_within_a_layer_stay_synchronous_if_an_asynchronous_one_follows() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .subscribe_fn(|_: &Stored| ())
        .layer(layer("a"))
        .subscribe_async_fn(|_: &Stored| async { Ok(()) })
        .build();
    ready(bus.publish_async(&Stored)).unwrap();
    assert_eq!(lines(&log), ["a before, at once"]);
}

#[test]
fn failures_of_subscribers_within_layers_name_the_subscriber() {
    fn full(_: &Stored) -> std::future::Ready<Result<(), BusError>> {
        std::future::ready(Err(BusError::refused::<Stored>("full")))
    }
    let (_, layer) = noted();
    let bus = BusBuilder::new()
        .subscribe_async_fn(full)
        .layer(layer("a"))
        .build();
    let error = ready(bus.publish_async(&Stored)).unwrap_err().to_string();
    assert!(
        error.contains("::full (position 0): stored: its handler failed: full"),
        "{error}"
    );
    let wiring = bus.wiring();
    assert!(wiring.registrations()[0].handler.ends_with("::full"));
    assert_eq!(wiring.registrations()[0].layers().count(), 1);
}

/// Runs what is within it at most twice.
#[derive(Clone)]
struct Again;
impl Layer for Again {
    type Around = Again;
    fn around(&self, _: Registration) -> Again {
        Again
    }
}
impl<Q: Query<Response: Send> + Clone + Send + Sync, B: ?Sized> AsyncAroundQuery<Q, B> for Again {
    async fn query(
        &self,
        query: Q,
        _bus: &B,
        next: impl NextQuery<Q>,
    ) -> Result<Q::Response, BusError> {
        match next.run(query.clone()).await {
            Ok(answer) => Ok(answer),
            Err(_) => next.run(query).await,
        }
    }
}

#[test]
fn a_layer_may_run_what_is_within_it_again() {
    let (log, layer) = noted();
    let bus = BusBuilder::new()
        .register_query_async_fn(|_: Double| async { Err(BusError::refused::<Double>("down")) })
        .layer(layer("a"))
        .layer(Again)
        .build();
    ready(bus.send_async(Double(1))).unwrap_err();
    assert_eq!(lines(&log), ["a before", "a after", "a before", "a after"]);
}
