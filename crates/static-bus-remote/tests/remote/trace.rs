//! One trace across processes, as an exporter receives it.

use std::{thread, time::Duration};

use opentelemetry::{
    SpanId,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, layer::Traced, prelude::*};
use static_bus_remote::{Worker, transport::Kind};
use tokio::sync::watch;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::support::{TestBroker, connect, dead_lettered, listen, quick, until};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct PlaceOrder(u32);
command!(PlaceOrder, name = "orders.place");
#[derive(Serialize, Deserialize)]
struct GetUser(u32);
query!(GetUser -> u32, name = "users.get");
#[derive(Serialize, Deserialize)]
struct OrderPlaced;
event!(OrderPlaced, name = "orders.placed");

struct Orders;
impl<B> AsyncCommandHandler<PlaceOrder, B> for Orders
where
    B: AsyncSendQuery<GetUser> + AsyncPublishEvent<OrderPlaced>,
{
    async fn handle(&self, order: PlaceOrder, bus: &B) -> Result<(), BusError> {
        bus.send_async(GetUser(order.0)).await?;
        bus.publish_async(&OrderPlaced).await
    }
}
struct Users;
impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, query: GetUser, _bus: &B) -> Result<u32, BusError> {
        // It goes on in a task of its own.
        tokio::task::yield_now().await;
        Ok(query.0)
    }
}

/// The spans that a process exports, and the guard of its subscriber. A process is a thread here.
fn exporting() -> (InMemorySpanExporter, impl Drop) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
    let tracer = provider.build().tracer("test");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let subscriber = tracing_subscriber::registry().with(layer);
    (exporter, subscriber.set_default())
}

/// Runs a process to its end. Returns the spans that it has exported.
fn process(run: impl AsyncFnOnce()) -> Vec<SpanData> {
    let (exporter, _guard) = exporting();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    runtime.block_on(run());
    exporter.get_finished_spans().unwrap()
}

#[track_caller]
fn only<'s>(spans: &'s [SpanData], name: &str) -> &'s SpanData {
    let mut named = spans.iter().filter(|span| span.name == name);
    let span = named.next();
    assert!(named.next().is_none(), "{name} in {spans:?}");
    span.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

#[test]
fn a_command_that_crosses_processes_is_one_trace() {
    let broker = TestBroker::new();
    let (started, mut starts) = listen();
    let (stop, stopping) = watch::channel(false);
    let stopped = async |mut stopping: watch::Receiver<bool>| {
        _ = stopping.wait_for(|stop| *stop).await;
    };
    let [customer, orders, users] = thread::scope(|scope| {
        // Dropped by a panic here, so that the others end as well.
        let stop = stop;
        let users = scope.spawn(|| {
            process(async || {
                let bus = BusBuilder::new().register_query_async(Users);
                let bus = bus.layer(Traced).build();
                let worker = Worker::new(broker.clone(), bus).query::<GetUser>();
                let worker = worker.start().await.unwrap();
                started.send(()).unwrap();
                stopped(stopping.clone()).await;
                worker.shutdown(PATIENCE).await;
            })
        });
        let orders = scope.spawn(|| {
            process(async || {
                let remote = connect(&broker).await.layer(Traced);
                let bus = BusBuilder::new()
                    .register_command_async(Orders)
                    .layer(Traced)
                    .register_query_async::<GetUser, _>(remote.clone())
                    .subscribe_async::<OrderPlaced, _>(remote)
                    .build();
                let worker = Worker::new(broker.clone(), bus).command::<PlaceOrder>();
                let worker = worker.start().await.unwrap();
                started.send(()).unwrap();
                stopped(stopping.clone()).await;
                worker.shutdown(PATIENCE).await;
            })
        });
        let customer = process(async || {
            starts.take(2).await;
            let remote = connect(&broker).await.layer(Traced);
            remote.execute_async(PlaceOrder(7)).await.unwrap();
            let is_sent = async || !broker.appended(Kind::Event).is_empty();
            until("the event is sent", is_sent).await;
        });
        stop.send(true).unwrap();
        [customer, orders.join().unwrap(), users.join().unwrap()]
    });

    let sent = only(&customer, "command orders.place");
    assert_eq!(sent.span_kind, SpanKind::Producer);
    assert_eq!(sent.parent_span_id, SpanId::INVALID);

    let handled = only(&orders, "command orders.place");
    assert_eq!(handled.span_kind, SpanKind::Internal);
    assert_eq!(handled.parent_span_id, sent.span_context.span_id());
    assert!(handled.parent_span_is_remote);

    let asked = only(&orders, "query users.get");
    assert_eq!(asked.span_kind, SpanKind::Client);
    assert_eq!(asked.parent_span_id, handled.span_context.span_id());
    assert!(!asked.parent_span_is_remote);

    let answered = only(&users, "query users.get");
    assert_eq!(answered.parent_span_id, asked.span_context.span_id());
    assert!(answered.parent_span_is_remote);

    let published = only(&orders, "event orders.placed");
    assert_eq!(published.parent_span_id, handled.span_context.span_id());

    assert_eq!((customer.len(), orders.len(), users.len()), (1, 3, 1));
    let trace = sent.span_context.trace_id();
    for span in customer.iter().chain(&orders).chain(&users) {
        assert_eq!(span.span_context.trace_id(), trace, "{span:?}");
    }
    let id = published.span_context.span_id();
    let sent = broker.only(Kind::Event).headers;
    let parent = format!("00-{trace}-{id}-01");
    assert_eq!(sent.get("traceparent").as_deref(), Some(&*parent));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_span_of_the_trace_of_the_sender_with_its_error() {
    let (exporter, _guard) = exporting();
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: PlaceOrder| async {
            Err(BusError::rejected::<PlaceOrder>("full"))
        })
        .layer(Traced)
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<PlaceOrder>();
    let _worker = worker.retries(quick(3)).start().await.unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let remote = connect(&broker).await.with_trace(parent, None);
    remote.execute_async(PlaceOrder(7)).await.unwrap();
    dead_lettered(&broker, 1).await;

    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 3);
    for span in spans {
        let trace = span.span_context.trace_id().to_string();
        assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
        let text = "orders.place: its handler failed: full";
        assert_eq!(span.status, Status::error(text));
    }
}

#[tokio::test]
async fn a_trace_that_is_set_is_sent_instead_of_the_current_span() {
    let (_exporter, _guard) = exporting();
    let broker = TestBroker::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let remote = connect(&broker).await.with_trace(parent, None);
    remote
        .layer(Traced)
        .execute_async(PlaceOrder(7))
        .await
        .unwrap();
    let sent = broker.only(Kind::Command).headers;
    assert_eq!(sent.get("traceparent").as_deref(), Some(parent));
}
