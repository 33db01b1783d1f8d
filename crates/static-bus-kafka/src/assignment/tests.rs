//! An assignment that the group has taken away, before the member learns it.

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::*;
use crate::{
    cluster::Cluster,
    events::Change,
    membership::{self, MIN_SESSION_TIMEOUT},
    offsets::list,
    producer::Producer,
    settings::KafkaTransportBuilder,
    transactions::Committer,
};
use static_bus_remote::transport::{Kind, Record, Subscription, Topic};

const LONG: Duration = Duration::from_secs(120);
const GROUP: &str = "lost.command.cause@handlers";

/// Repeats a call that blocks shortly until it has a result.
async fn until<T: Send + 'static>(mut call: impl FnMut() -> Option<T> + Send + 'static) -> T {
    let calling = move || {
        let end = Instant::now() + LONG;
        loop {
            if let Some(result) = call() {
                return result;
            }
            assert!(Instant::now() < end, "not in time");
        }
    };
    tokio::task::spawn_blocking(calling).await.unwrap()
}

/// A member that is removed from its group has no id, and a cluster accepts offsets without an id unchecked.
#[tokio::test]
async fn an_assignment_that_is_lost_commits_nothing() {
    let mock: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
    mock.create_topic("lost.command.cause", 1, 1).unwrap();
    let settings = KafkaTransportBuilder::new(mock.bootstrap_servers()).namespace("lost");
    let settings = settings.deadline(Duration::from_secs(5)).exactly_once();
    let settings = settings.settings().unwrap();
    let cluster = Cluster::new(settings);
    let topic = Topic {
        kind: Kind::Command,
        name: "cause".into(),
    };
    let name = cluster.topics().get(&topic).await.unwrap().name;
    let producer = Producer::connect(&cluster).await.unwrap();
    let appended = producer.append(vec![(topic.clone(), Record::default())]);
    appended.await.remove(0).unwrap();

    let config = cluster.settings().consumer(GROUP);
    let config = membership::with_defaults(config, MIN_SESSION_TIMEOUT);
    let client = membership::client(&cluster, &config).unwrap();
    let events = (**client.context()).clone();
    client.subscribe(&[&name]).unwrap();
    let poll = {
        let client = client.clone();
        move || drop(client.poll(Duration::from_millis(20)))
    };
    until({
        let (poll, events) = (poll.clone(), events.clone());
        move || {
            poll();
            events
                .next_change()
                .filter(|change| matches!(change, Change::Assign(_)))
        }
    })
    .await;
    let mut assignment = Assignment::<Leased>::new(name.clone(), LONG, true, client.clone());
    let queue = client.split_partition_queue(&name, 0).unwrap();
    assignment.add(0, Some((0, "")), queue);
    client.incremental_assign(&list(&name, [0])).unwrap();
    let (delivery, mut assignment) = until({
        let mut assignment = Some(assignment);
        move || {
            poll();
            let delivery = assignment.as_mut()?.take(1).0.pop()?;
            Some((delivery, assignment.take()?))
        }
    })
    .await;

    // The group no longer has the member.
    let unknown = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID];
    mock.request_errors(RDKafkaApiKey::Heartbeat, &unknown);
    let losing = client.clone();
    until(move || {
        std::thread::sleep(Duration::from_millis(20));
        losing.assignment_lost().then_some(())
    })
    .await;
    let acknowledgement = Acknowledgement {
        receipt: delivery.receipt,
        outputs: Vec::new(),
        key: None,
    };
    let (ticket, lost) = assignment.acknowledge_with(vec![acknowledgement]);
    let commit = assignment.next_commit().unwrap();
    let subscription = Subscription::new(topic, "handlers", "one");
    let committer = Committer::new(&cluster, &subscription);
    let committed = tokio::task::spawn_blocking(move || commit.run(Some(&committer))).await;
    drop(assignment);
    let positions = until(move || {
        let positions = client.committed_offsets(list(&name, [0]), LONG).ok()?;
        // The client does not end before the loss is confirmed.
        events.end();
        _ = client.incremental_unassign(&list(&name, [0]));
        Some(positions)
    });
    let position = positions.await.elements()[0].offset();
    assert!(ticket.is_some() && lost.is_empty(), "it has not learnt it");
    assert!(committed.unwrap().is_err());
    assert_eq!(position, Offset::Invalid);
}

/// A receiver commits where it ends. If it has not learnt where to begin, that would be the start of the partition, and the next
/// receiver would handle its queries again.
#[tokio::test]
async fn a_partition_whose_position_is_unknown_is_given_up_without_a_commit() {
    let mock: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
    let settings = KafkaTransportBuilder::new(mock.bootstrap_servers()).namespace("unknown");
    let cluster = Cluster::new(settings.settings().unwrap());
    let config = cluster.settings().consumer("unknown.query.ask");
    let config = membership::with_defaults(config, MIN_SESSION_TIMEOUT);
    let client = membership::client(&cluster, &config).unwrap();
    let name: Arc<str> = "unknown.query.ask".into();
    let mut assignment = Assignment::<Held>::new(name.clone(), LONG, false, client.clone());
    for (number, position) in [(0, None), (1, Some((7, "")))] {
        let queue = client.split_partition_queue(&name, number).unwrap();
        assignment.add(number, position, queue);
    }
    assignment.close(&[0, 1]);
    assert!(assignment.is_committed(&[0]));
    assert!(!assignment.is_committed(&[1]), "where it ended");
}
