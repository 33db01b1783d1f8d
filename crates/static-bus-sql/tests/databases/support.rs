//! Records for the tests of both engines.

use std::{fmt::Debug, time::Duration};

use static_bus_remote::{
    Headers, Transport, TransportError,
    transport::{Consumer, Delivery, Kind, Lease, Record, Subscription, Topic},
};

/// The limit of anything on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

pub fn command(name: &str) -> Topic {
    topic(Kind::Command, name)
}

pub fn event(name: &str) -> Topic {
    topic(Kind::Event, name)
}

pub fn topic(kind: Kind, name: &str) -> Topic {
    Topic {
        kind,
        name: name.to_owned().into(),
    }
}

pub fn record(body: impl ToString) -> Record {
    Record {
        headers: Headers::from_iter([("type", "test")]),
        body: body.to_string().into(),
        ..Record::default()
    }
}

pub fn keyed(key: &str, body: impl ToString) -> Record {
    Record {
        key: Some(key.into()),
        ..record(body)
    }
}

pub async fn append(
    transport: &impl Transport,
    topic: &Topic,
    records: impl IntoIterator<Item = Record>,
) -> Result<(), TransportError> {
    let records = records.into_iter().map(|record| (topic.clone(), record));
    let results = transport.append(records.collect()).await;
    results.into_iter().collect()
}

pub async fn join<T: Transport>(transport: &T, topic: &Topic, member: &str) -> T::Consumer {
    let subscription = Subscription::new(topic.clone(), "handlers", member);
    transport.consume(subscription).await.unwrap()
}

pub fn bodies<R: Debug>(deliveries: &[Delivery<R>]) -> Vec<String> {
    let body = |d: &Delivery<R>| String::from_utf8(d.record.body.to_vec()).unwrap();
    deliveries.iter().map(body).collect()
}

pub async fn acknowledge<C: Consumer>(
    consumer: &C,
    deliveries: &[Delivery<C::Receipt>],
) -> Result<(), TransportError> {
    let lease = |delivery: &Delivery<C::Receipt>| Lease {
        receipt: delivery.receipt.clone(),
        claim: None,
    };
    let leases: Vec<_> = deliveries.iter().map(lease).collect();
    consumer.acknowledge(&leases).await
}
