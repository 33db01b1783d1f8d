//! The records and keys that the broker stores, and the kinds of its topics.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_later_group_of_a_command_gets_the_unsettled_records() {
    let broker = MemoryBroker::new();
    let records = [record(0), keyed("k", 1), record(2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let first = group(&broker, Kind::Command, "first").await;
    let got = now(&first, 3).await;
    acknowledge(&first, &got[..1]).await;

    let second = group(&broker, Kind::Command, "second").await;
    assert_eq!(bodies(&now(&second, 9).await), ["1", "2", "3"]);
    append(&broker, Kind::Command, [record(4)]).await;
    assert_eq!(bodies(&now(&first, 9).await), ["3", "4"]);
    assert_eq!(bodies(&now(&second, 9).await), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_freed_when_every_group_has_settled_it() {
    let broker = MemoryBroker::new();
    let (first, second) = (
        group(&broker, Kind::Event, "first").await,
        group(&broker, Kind::Event, "second").await,
    );
    let body = bytes::Bytes::from(vec![1; 100]);
    let sent = Record {
        body: body.clone(),
        ..Record::default()
    };
    append(&broker, Kind::Event, [sent]).await;
    for (consumer, freed) in [(first, false), (second, true)] {
        let got = now(&consumer, 9).await;
        assert_eq!(got[0].record.body.as_ptr(), body.as_ptr(), "never copied");
        acknowledge(&consumer, &got).await;
        drop(got);
        assert_eq!(body.is_unique(), freed);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_replies_are_freed_without_a_receiver() {
    let broker = MemoryBroker::new();
    let body = bytes::Bytes::from(vec![1; 100]);
    let first = Record {
        body: body.clone(),
        expires: Some(Duration::from_secs(1)),
        ..Record::default()
    };
    append(&broker, Kind::Reply, [first]).await;
    advance(Duration::from_secs(1)).await;
    let more = (0..2000).map(|n| expiring(n, LONG));
    append(&broker, Kind::Reply, more).await;
    assert!(body.is_unique());
}

#[tokio::test(start_paused = true)]
async fn expired_keys_are_freed() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let keys: Vec<Arc<str>> = (0..1000).map(|n| n.to_string().into()).collect();
    append(&broker, Kind::Command, (0..500).map(record)).await;
    one.claim(&keys).await.unwrap();
    // Half of them are confirmed. The leases of the others run out.
    for (delivery, key) in now(&one, 500).await.iter().zip(&keys) {
        one.acknowledge(&claimed(delivery, key)).await.unwrap();
    }
    let known = |keys: &[Arc<str>]| keys.iter().filter(|k| Arc::strong_count(k) > 1).count();
    assert_eq!(known(&keys), 1000);
    advance(LONG).await;
    let more: Vec<Arc<str>> = (0..2000).map(|n| format!("new {n}").into()).collect();
    one.claim(&more).await.unwrap();
    assert_eq!(known(&keys), 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_another_kind_is_refused_with_the_remedy() {
    let broker = MemoryBroker::new();
    for (kind, text) in [
        (
            Kind::Query,
            "memory: query test has no groups that can be joined: open a receiver with `listen`",
        ),
        (
            Kind::DeadLetter,
            "memory: dead-letter test has no groups that can be joined: read dead letters with `dead_letters`",
        ),
    ] {
        let joining = broker.consume(Subscription::new(topic(kind), "group", "one"));
        assert_eq!(joining.await.unwrap_err().to_string(), text);
    }
    for (kind, text) in [
        (
            Kind::Event,
            "memory: event test has no receivers: join a group with `consume`",
        ),
        (
            Kind::DeadLetter,
            "memory: dead-letter test has no receivers: read dead letters with `dead_letters`",
        ),
    ] {
        let listening = broker.listen(topic(kind));
        assert_eq!(listening.await.unwrap_err().to_string(), text);
    }
}
