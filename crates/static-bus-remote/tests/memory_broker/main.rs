//! The promises of `MemoryBroker` beyond those of every engine, mostly in tokio's paused time.

mod anything;
mod leases;
mod quiet;
mod storage;
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use static_bus_remote::{
    MemoryBroker, Transport, TransportErrorKind,
    memory::{MemoryConsumer, Receipt},
    transport::{
        Backlog, Claim, Consumer, Delivery, Kind, Lease, Receiver, Record, Subscription, Topic,
    },
};
use tokio::time::{advance, sleep, timeout};

const LEASE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);

fn topic(kind: Kind) -> Topic {
    let name = "test".into();
    Topic { kind, name }
}

fn record(body: impl ToString) -> Record {
    Record {
        body: body.to_string().into(),
        ..Record::default()
    }
}

fn keyed(key: &str, body: impl ToString) -> Record {
    let key = Some(key.into());
    Record {
        key,
        ..record(body)
    }
}

fn expiring(body: impl ToString, after: Duration) -> Record {
    let expires = Some(after);
    Record {
        expires,
        ..record(body)
    }
}

async fn append(broker: &MemoryBroker, kind: Kind, records: impl IntoIterator<Item = Record>) {
    let records = records.into_iter().map(|record| (topic(kind), record));
    for result in broker.append(records.collect()).await {
        result.unwrap();
    }
}

async fn member(broker: &MemoryBroker, kind: Kind, name: &str) -> MemoryConsumer {
    let subscription = Subscription::new(topic(kind), "handlers", name);
    broker.consume(subscription).await.unwrap()
}

async fn group(broker: &MemoryBroker, kind: Kind, group: &'static str) -> MemoryConsumer {
    let subscription = Subscription::new(topic(kind), group, "one");
    broker.consume(subscription).await.unwrap()
}

/// The records that are there now.
async fn now(consumer: &MemoryConsumer, max: usize) -> Vec<Delivery<Receipt>> {
    consumer.receive(max, Duration::ZERO).await.unwrap()
}

fn bodies(deliveries: &[Delivery<Receipt>]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|delivery| str::from_utf8(&delivery.record.body).unwrap())
        .collect()
}

fn leases(deliveries: &[Delivery<Receipt>]) -> Vec<Lease<Receipt>> {
    deliveries
        .iter()
        .map(|delivery| Lease {
            receipt: delivery.receipt.clone(),
            claim: None,
        })
        .collect()
}

fn claimed(delivery: &Delivery<Receipt>, key: &Arc<str>) -> [Lease<Receipt>; 1] {
    let (receipt, claim) = (delivery.receipt.clone(), Some(key.clone()));
    [Lease { receipt, claim }]
}

async fn acknowledge(consumer: &MemoryConsumer, deliveries: &[Delivery<Receipt>]) {
    consumer.acknowledge(&leases(deliveries)).await.unwrap();
}

async fn release(consumer: &MemoryConsumer, deliveries: &[Delivery<Receipt>]) {
    consumer.release(&leases(deliveries)).await.unwrap();
}

async fn claim(consumer: &MemoryConsumer, key: &Arc<str>) -> Claim {
    consumer.claim(std::slice::from_ref(key)).await.unwrap()[0]
}
