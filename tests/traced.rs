//! The spans of the layer `Traced`, one test for each guarantee.

use static_bus::{asynchronous::BusError, layer::Traced, prelude::*, wiring};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{registry::LookupSpan, util::SubscriberInitExt};

struct Double(u32);
query!(Double -> u32, name = "double");
struct Store(u32);
command!(Store -> Result<(), Full>, name = "store");
struct Stored;
event!(Stored, name = "stored");
#[derive(Debug, thiserror::Error)]
#[error("full")]
struct Full;

/// A span that has been made, with the texts of its fields.
#[derive(Clone, Debug)]
struct Span {
    name: &'static str,
    parent: Option<String>,
    fields: BTreeMap<&'static str, String>,
}
impl Span {
    fn message(&self) -> &str {
        &self.fields["messaging.destination.name"]
    }
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}
impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, Span>>>);
impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let parent = context.span(id).unwrap().parent();
        let parent = parent.map(|it| spans[&it.id().into_u64()].message().to_owned());
        let mut span = Span {
            name: attributes.metadata().name(),
            parent,
            fields: BTreeMap::new(),
        };
        attributes.record(&mut span);
        // An id is used again when its span has been closed.
        let at = spans.len() as u64;
        if let Some(closed) = spans.insert(id.into_u64(), span) {
            spans.insert(u64::MAX - at, closed);
        }
    }
    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(self.0.lock().unwrap().get_mut(&id.into_u64()).unwrap());
    }
}
impl Spans {
    /// Collects the spans of this thread until the guard is dropped.
    fn collect() -> (Spans, impl Drop) {
        let spans = Spans::default();
        let subscriber = tracing_subscriber::registry().with(spans.clone());
        (spans, subscriber.set_default())
    }
    fn all(&self) -> Vec<Span> {
        self.0.lock().unwrap().values().cloned().collect()
    }
    #[track_caller]
    fn of(&self, message: &str) -> Span {
        let mut spans = self.all();
        spans.retain(|span| span.message() == message);
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }
}

struct Service;
impl<B> QueryHandler<Double, B> for Service {
    fn handle(&self, query: Double, _bus: &B) -> u32 {
        query.0 * 2
    }
}
impl<B: SendQuery<Double> + PublishEvent<Stored>> CommandHandler<Store, B> for Service {
    fn handle(&self, command: Store, bus: &B) -> Result<(), Full> {
        bus.publish(&Stored);
        if bus.send(Double(command.0)) > 10 {
            return Err(Full);
        }
        Ok(())
    }
}

macro_rules! shop {
    () => {
        BusBuilder::new()
            .register_query::<Double, _>(Service)
            .register_command::<Store, _>(Service)
            .subscribe_fn(|_: &Stored| ())
            .layer(Traced)
            .build()
    };
}

#[test]
fn a_span_has_the_fields_of_the_conventions_for_messaging() {
    let (spans, _guard) = Spans::collect();
    assert_eq!(shop!().send::<Double>(Double(2)), 4);
    let span = spans.of("double");
    assert_eq!((span.name, span.parent), ("query", None));
    let fields: Vec<_> = span.fields.iter().map(|(k, v)| (*k, &**v)).collect();
    assert_eq!(
        fields,
        [
            ("code.function.name", "traced::Service"),
            ("messaging.destination.name", "double"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.system", "static_bus"),
            ("otel.kind", "internal"),
            ("otel.name", "query double"),
        ]
    );
}

#[test]
fn a_message_that_a_handler_sends_is_a_child_of_its_span() {
    let (spans, _guard) = Spans::collect();
    shop!().execute(Store(1)).unwrap();
    assert_eq!(spans.all().len(), 3);
    let store = spans.of("store");
    assert_eq!((store.name, store.parent), ("command", None));
    let stored = spans.of("stored");
    assert_eq!(
        (stored.name, stored.parent.as_deref()),
        ("event", Some("store"))
    );
    assert_eq!(spans.of("double").parent.as_deref(), Some("store"));
}

#[test]
fn the_error_of_a_synchronous_handler_is_recorded() {
    let (spans, _guard) = Spans::collect();
    shop!().execute(Store(100)).unwrap_err();
    let store = spans.of("store");
    assert_eq!(store.field("otel.status_code"), Some("ERROR"));
    assert_eq!(store.field("error.type"), Some("traced::Full"));
    assert_eq!(spans.of("double").field("otel.status_code"), None);
}

#[tokio::test]
async fn the_error_of_an_asynchronous_handler_is_recorded_with_its_text() {
    let (spans, _guard) = Spans::collect();
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Store| async { Err(BusError::refused::<Store>("full")) })
        .subscribe_async_fn(|_: &Stored| async { Err(BusError::NoHandler { message: "x" }) })
        .layer(Traced)
        .build();
    bus.execute_async(Store(1)).await.unwrap_err();
    bus.publish_async(&Stored).await.unwrap_err();
    let store = spans.of("store");
    assert_eq!(store.field("otel.status_code"), Some("ERROR"));
    assert_eq!(store.field("error.type"), Some("rejected"));
    assert_eq!(
        store.field("otel.status_description"),
        Some("store: its handler failed: full")
    );
    assert_eq!(spans.of("stored").field("error.type"), Some("no_handler"));
}

/// Sends another query after it has waited.
struct Waits;
struct Outer;
query!(Outer -> u32, name = "outer");
struct Other;
query!(Other -> u32, name = "other");
impl<B: AsyncSendQuery<Double>> AsyncQueryHandler<Outer, B> for Waits {
    async fn handle(&self, _: Outer, bus: &B) -> Result<u32, BusError> {
        tokio::task::yield_now().await;
        bus.send_async(Double(1)).await
    }
}
impl<B> AsyncQueryHandler<Other, B> for Waits {
    async fn handle(&self, _: Other, _bus: &B) -> Result<u32, BusError> {
        tokio::task::yield_now().await;
        Ok(1)
    }
}

#[tokio::test]
async fn an_asynchronous_handler_is_in_its_span_only_while_it_is_polled() {
    let (spans, _guard) = Spans::collect();
    let bus = BusBuilder::new()
        .register_query_async::<Outer, _>(Waits)
        .register_query_async::<Other, _>(Waits)
        .register_query_async_fn(|n: Double| async move { Ok(n.0) })
        .layer(Traced)
        .build();
    let (outer, other) = tokio::join!(bus.send_async(Outer), bus.send_async(Other));
    assert_eq!((outer.unwrap(), other.unwrap()), (1, 1));
    assert_eq!(spans.of("outer").parent, None);
    assert_eq!(spans.of("other").parent, None);
    assert_eq!(spans.of("double").parent.as_deref(), Some("outer"));
}

#[test]
fn a_send_to_a_remote_handler_has_its_address_and_the_role_of_the_sender() {
    use static_bus::layer::{AroundCommand, AroundQuery, Layer};
    let (spans, _guard) = Spans::collect();
    let address = "redis://10.0.0.7:6379";
    let query = wiring::Registration::remote::<Double>(wiring::Kind::Query, address);
    Traced.around(query).query(Double(1), &(), |n: Double| n.0);
    let command = wiring::Registration::remote::<Store>(wiring::Kind::Command, address);
    let sent = Traced.around(command).command(Store(1), &(), |_| Ok(()));
    sent.unwrap();
    for (message, kind) in [("double", "client"), ("store", "producer")] {
        let span = spans.of(message);
        assert_eq!(span.field("otel.kind"), Some(kind));
        assert_eq!(span.field("server.address"), Some(address));
        assert_eq!(span.field("code.function.name"), None);
        assert_eq!(span.field("messaging.operation.type"), Some("send"));
    }
}

#[test]
fn without_a_subscriber_messages_pass() {
    assert_eq!(shop!().send::<Double>(Double(2)), 4);
}
