//! What is kept in a topic, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_later_group_of_commands_gets_what_is_not_settled() {
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
async fn replies_that_nobody_fetches_do_not_pile_up() {
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
