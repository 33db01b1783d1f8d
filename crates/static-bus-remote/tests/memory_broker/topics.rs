//! What is kept in a topic, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn commands_wait_for_the_first_group() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::Command, (0..30_000).map(record)).await;
    let consumer = member(&broker.clone(), Kind::Command, "one").await;
    assert_eq!(consumer.backlog().await.unwrap().lag, 30_000);

    let mut expected = 0;
    while expected < 30_000 {
        let got = now(&consumer, 1000).await;
        assert_eq!(got.len(), 1000);
        for body in bodies(&got) {
            assert_eq!(body, expected.to_string());
            expected += 1;
        }
        acknowledge(&consumer, &got).await;
    }
    assert_eq!(consumer.backlog().await.unwrap(), Backlog::default());
}

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
async fn a_group_of_events_gets_all_that_follow() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::Event, [record("before all")]).await;
    let first = group(&broker, Kind::Event, "first").await;
    append(&broker, Kind::Event, [record("one")]).await;
    let second = group(&broker, Kind::Event, "second").await;
    append(&broker, Kind::Event, [record("two")]).await;

    assert_eq!(bodies(&now(&first, 9).await), ["one", "two"]);
    assert_eq!(bodies(&now(&second, 9).await), ["two"]);
    second.close().await.unwrap();
    append(&broker, Kind::Event, [record("three")]).await;
    let second = group(&broker, Kind::Event, "second").await;
    assert_eq!(bodies(&now(&second, 9).await), ["two", "three"]);
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
async fn queries_are_handed_out_once_and_not_after_their_deadline() {
    let broker = MemoryBroker::new();
    for kind in [Kind::Query, Kind::Reply] {
        let second = Duration::from_secs(1);
        let records = [expiring("late", second), expiring("due", 3 * second)];
        append(&broker, kind, records).await;
        append(&broker, kind, [keyed("k", 1), keyed("k", 2)]).await;
        advance(2 * second).await;

        let (one, two) = (
            member(&broker, kind, "one").await,
            member(&broker, kind, "two").await,
        );
        let backlog = one.backlog().await.unwrap();
        assert_eq!((backlog.pending, backlog.lag), (0, 3));
        assert_eq!(backlog.oldest, 2 * second);
        let got = now(&one, 2).await;
        assert_eq!(bodies(&got), ["due", "1"]);
        assert_eq!(got[0].attempt, 1);
        assert_eq!(bodies(&now(&two, 9).await), ["2"]);
        assert_eq!(two.backlog().await.unwrap(), Backlog::default());

        // Nothing is left to settle.
        release(&one, &got).await;
        one.close().await.unwrap();
        advance(LONG).await;
        assert!(now(&two, 9).await.is_empty());
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

#[tokio::test(start_paused = true)]
async fn dead_letters_are_kept_in_order_until_they_are_removed() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::DeadLetter, (0..12).map(record)).await;
    let all = broker.dead_letters(None, 100).await.unwrap();
    assert!(all.iter().map(|dead| &dead.position).is_sorted());
    let contents = |dead: &[DeadLetterRecord]| -> Vec<_> {
        let bodies = dead.iter().map(|dead| dead.record.body.to_vec());
        bodies
            .map(|body| String::from_utf8(body).unwrap())
            .collect()
    };
    assert_eq!(contents(&all)[..3], ["0", "1", "2"]);
    assert_eq!(contents(&all).len(), 12);

    let next = broker.dead_letters(Some(&all[8].position), 2).await;
    assert_eq!(contents(&next.unwrap()), ["9", "10"]);
    let gone: Vec<_> = all[..11].iter().map(|dead| dead.position.clone()).collect();
    for _ in 0..2 {
        broker.remove_dead_letters(&gone).await.unwrap();
    }
    let left = broker.dead_letters(None, 100).await.unwrap();
    assert_eq!(contents(&left), ["11"]);
    append(&broker, Kind::DeadLetter, [record("new")]).await;
    let new = broker.dead_letters(Some(&left[0].position), 9).await;
    assert_eq!(contents(&new.unwrap()), ["new"]);

    let subscription = Subscription::new(topic(Kind::DeadLetter), "g", "m");
    let refused = broker.consume(subscription).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "memory: dead letters have no consumers: read them with `dead_letters`"
    );
}
