//! Records, and the contents of topics as a consumer without the engine reads them.

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::OwnedMessage,
    metadata::MetadataPartition,
    types::RDKafkaErrorCode,
};
use static_bus_kafka::{KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::transport::{Kind, Record, Topic};

/// A time that no healthy run comes near.
pub const LONG: Duration = Duration::from_secs(180);

/// A connection whose deadline no call of a healthy cluster comes near, however busy the machine is.
pub fn kafka_at(servers: impl Into<String>) -> KafkaTransportBuilder {
    KafkaTransport::builder(servers).deadline(Duration::from_secs(60))
}

pub fn command(name: &str) -> Topic {
    Topic {
        kind: Kind::Command,
        name: name.to_owned().into(),
    }
}

pub fn record(body: impl Into<String>, key: Option<&str>) -> Record {
    Record {
        body: body.into().into(),
        key: key.map(Arc::from),
        ..Record::default()
    }
}

/// All messages of a Kafka topic, in the order of each partition, once no transaction is open: the cluster ends one a moment
/// after it has confirmed the commit, in one partition after the other, and aborts that of a process that was killed.
pub async fn contents(servers: &str, topic: &str) -> Vec<OwnedMessage> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&servers, &topic))
        .await
        .unwrap()
}

/// The bodies of messages.
pub fn bodies(messages: &[OwnedMessage]) -> Vec<&str> {
    let body = |message| str::from_utf8(OwnedMessage::payload(message).unwrap_or_default());
    messages.iter().map(|m| body(m).unwrap()).collect()
}

fn read(servers: &str, topic: &str) -> Vec<OwnedMessage> {
    let client = |isolation| -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    };
    let consumer = client("read_committed");
    let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
    let partitions = metadata.topics()[0].partitions();
    // `None` while a server is down.
    let ends = |client: &BaseConsumer| -> Option<Vec<i64>> {
        let end = |partition: &MetadataPartition| {
            let found = client.fetch_watermarks(topic, partition.id(), LONG);
            found.ok().map(|(_, end)| end)
        };
        partitions.iter().map(end).collect()
    };
    let (all, begin) = (client("read_uncommitted"), Instant::now());
    loop {
        let seen = ends(&consumer);
        if seen.is_some() && seen == ends(&all) {
            break;
        }
        assert!(begin.elapsed() < LONG, "a transaction in {topic} is open");
        thread::sleep(Duration::from_millis(20));
    }
    let mut begins = TopicPartitionList::new();
    for partition in partitions {
        let begin = Offset::Beginning;
        begins
            .add_partition_offset(topic, partition.id(), begin)
            .unwrap();
    }
    consumer.assign(&begins).unwrap();
    let (mut messages, mut ended) = (Vec::new(), BTreeSet::new());
    while ended.len() < partitions.len() {
        match consumer.poll(LONG) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = ended.insert(partition),
            // A server that is down: the client uses another, or connects again.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(e)) => panic!("{topic}: {e}"),
            None => panic!("{topic} cannot be read"),
        }
    }
    messages
}
