//! The engine with which the guide's page on engines begins: it delegates everything to `MemoryBroker`.

use static_bus_conformance::{Capabilities, Harness};
use static_bus_remote::{
    MemoryBroker, Transport,
    memory::{MemoryConsumer, MemoryReceiver, Receipt},
    transport::{
        Backlog, Claim, Consumer, DeadLetterRecord, Delivery, Inspect, Lease, Receiver, Record,
        Subscription, Topic, TopicState, TransportError,
    },
};
use std::{sync::Arc, time::Duration};

#[derive(Clone)]
pub struct MyTransport {
    broker: MemoryBroker,
}

impl Transport for MyTransport {
    type Consumer = MyConsumer;
    type Receiver = MyReceiver;

    fn address(&self) -> &str {
        "my-broker://localhost"
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.broker.check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        self.broker.append(records).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<MyConsumer, TransportError> {
        self.broker.consume(subscription).await.map(MyConsumer)
    }

    async fn listen(&self, topic: Topic) -> Result<MyReceiver, TransportError> {
        self.broker.listen(topic).await.map(MyReceiver)
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        self.broker.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.broker.remove_dead_letters(positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        self.broker.check_scheduling()
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        self.broker.cancel(topic, key).await
    }
}

impl Inspect for MyTransport {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        self.broker.topics().await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        self.broker.inspect(topics).await
    }
}

pub struct MyReceiver(MemoryReceiver);

impl Receiver for MyReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        self.0.receive(max, wait).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.0.close().await
    }
}

pub struct MyConsumer(MemoryConsumer);

impl Consumer for MyConsumer {
    /// Small and cheap to clone: a position in a log, a number.
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, TransportError> {
        self.0.receive(max, wait).await
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        self.0.claim(keys).await
    }

    async fn acknowledge(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        self.0.acknowledge(leases).await
    }

    async fn renew(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        self.0.renew(leases).await
    }

    async fn release(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        self.0.release(leases).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.0.close().await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.0.backlog().await
    }
}

// In `tests/conformance.rs`: a test for each case of the suite.
const GRACE: Duration = Duration::from_secs(1);

struct Fresh(MyTransport);

impl Fresh {
    fn new() -> Self {
        let broker = MemoryBroker::builder().receiver_grace(GRACE).build();
        Fresh(MyTransport { broker })
    }
}

impl Harness for Fresh {
    type Transport = MyTransport;

    async fn connect(&self) -> MyTransport {
        self.0.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS.with_receiver_grace(GRACE)
    }
}

static_bus_conformance::conformance_tests!(Fresh::new());
static_bus_conformance::inspection_tests!(Fresh::new());
static_bus_conformance::scheduling_tests!(Fresh::new());

#[test]
fn the_guide_shows_this_engine() {
    let page = include_str!("../../../../docs/guide/src/writing-an-engine.md");
    let (_, code) = page.split_once("```rust\n").expect("code");
    let (code, _) = code.split_once("```\n").expect("its end");
    let (_, source) = include_str!("skeleton.rs")
        .split_once("\n\n")
        .expect("a header, then code");
    assert!(source.starts_with(code), "{code}");
}
