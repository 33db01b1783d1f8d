//! The creation of topics.

use std::{collections::HashMap, time::Duration};

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use static_bus_remote::{
    Transport as _,
    transport::{Kind, Record, Topic},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

fn partitions(topic: &str) -> usize {
    let limit = Duration::from_secs(30);
    let metadata = admin().inner().fetch_metadata(Some(topic), limit).unwrap();
    metadata.topics()[0].partitions().len()
}

async fn configuration(topic: &str) -> HashMap<String, String> {
    let which = [ResourceSpecifier::Topic(topic)];
    let configs = admin().describe_configs(&which, &AdminOptions::new()).await;
    let config = configs.unwrap().remove(0).unwrap();
    let entry = |(name, entry): (&str, &rdkafka::admin::ConfigEntry)| {
        (name.to_owned(), entry.value.clone().unwrap_or_default())
    };
    config.entry_map().into_iter().map(entry).collect()
}

#[tokio::test]
async fn the_configuration_of_a_new_topic_depends_on_its_kind() {
    let kafka = kafka_at(Kafka::common().servers())
        .namespace("topics")
        .partitions(3)
        .retention(Duration::from_secs(3600))
        .connect()
        .await
        .unwrap();
    let kinds = [
        (Kind::Query, "topics.query.n", 3, "600000", "delete"),
        (Kind::Reply, "topics.replies", 3, "600000", "delete"),
        (Kind::Command, "topics.command.n", 3, "3600000", "delete"),
        (Kind::Event, "topics.event.n", 3, "3600000", "delete"),
        (
            Kind::DeadLetter,
            "topics.dead-letters",
            1,
            "604800000",
            "compact",
        ),
    ];
    let query = Topic {
        kind: Kind::Query,
        name: "n".into(),
    };
    let _receiver = kafka.listen(query).await.unwrap();
    let records = kinds.map(|(kind, ..)| {
        let name = "n".into();
        (Topic { kind, name }, Record::default())
    });
    for result in kafka.append(records.into()).await {
        result.unwrap();
    }
    for (_, name, count, retention, cleanup) in kinds {
        assert_eq!(partitions(name), count, "{name}");
        let configuration = configuration(name).await;
        assert_eq!(configuration["retention.ms"], retention, "{name}");
        assert_eq!(configuration["cleanup.policy"], cleanup, "{name}");
    }
}

#[tokio::test]
async fn a_topic_that_exists_keeps_its_partitions() {
    let name = "static-bus.command.topics.existing";
    let new = NewTopic::new(name, 2, TopicReplication::Fixed(1));
    let created = admin().create_topics([&new], &AdminOptions::new()).await;
    created.unwrap().remove(0).unwrap();
    let kafka = kafka_at(Kafka::common().servers()).connect();
    let kafka = kafka.await.unwrap();
    let record = (command("topics.existing"), Record::default());
    kafka.append(vec![record]).await.remove(0).unwrap();
    assert_eq!(partitions(name), 2);
}

#[tokio::test]
async fn a_topic_that_was_deleted_is_created_again() {
    // Shorter than the time after which the client believes that a topic is gone.
    let kafka = impatient(Kafka::common().servers(), 3).await;
    let append = async |body: &str| {
        let record = (command("topics.deleted"), record(body, None));
        kafka.append(vec![record]).await.remove(0)
    };
    succeeds(async || append("before").await).await;
    let name = "static-bus.command.topics.deleted";
    delete(name).await;
    succeeds(async || append("after").await).await;
    let messages = contents(Kafka::common().servers(), name).await;
    assert!(bodies(&messages).contains(&"after"));
}

#[tokio::test]
async fn more_replicas_than_servers_are_refused_with_the_remedy() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).replication(3).connect();
    let kafka = kafka.await.unwrap();
    let record = (command("topics.replicated"), Record::default());
    let error = kafka.append(vec![record]).await.remove(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "kafka://{servers}: creating the topic static-bus.command.topics.replicated: \
             InvalidReplicationFactor (Broker: Invalid replication factor); the cluster has fewer \
             servers than `replication`"
        )
    );
}

#[tokio::test]
async fn two_processes_may_create_a_topic_at_the_same_time() {
    let servers = Kafka::common().servers();
    let (one, other) = tokio::join!(kafka_at(servers).connect(), kafka_at(servers).connect());
    let record = || vec![(command("topics.at once"), Record::default())];
    let (one, other) = (one.unwrap(), other.unwrap());
    let (mut one, mut other) = tokio::join!(one.append(record()), other.append(record()));
    one.remove(0).unwrap();
    other.remove(0).unwrap();
}
