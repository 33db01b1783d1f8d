//! Receivers and members that are away.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use static_bus_remote::transport::{
    Consumer as _, Inspect as _, Kind, Receiver as _, Topic, Transport as _,
};

use super::{
    Place, again, begin, fresh,
    support::{LONG, append, command, join, record, topic},
    table,
};
use tokio::time::sleep;

fn replies() -> Topic {
    topic(Kind::Reply, "process")
}

/// The topic of replies to a process that was suspended is removed. A reply that is late makes it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_replies_that_was_made_again_has_its_receiver() {
    let (place, transport) = fresh().await;
    let topic = replies();
    let receiver = transport.listen(topic.clone()).await.unwrap();
    change(&place, "delete from {topic} where kind = 'reply'").await;
    let there = again(&place).await;
    let begun = Instant::now();
    loop {
        append(&there, &topic, [record("reply")]).await.unwrap();
        let got = receiver.receive(1, Duration::from_secs(1)).await.unwrap();
        if !got.is_empty() {
            assert_eq!(got[0].body, "reply");
            break;
        }
        assert!(begun.elapsed() < LONG, "the receiver got no reply");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_of_replies_to_a_process_that_is_gone_is_removed() {
    let (place, transport) = fresh().await;
    let receiver = transport.listen(replies()).await.unwrap();
    receiver.close().await.unwrap();
    let transport = again(&place).await;
    change(
        &place,
        "update {topic} set accepts_until = 0 where kind = 'reply'",
    )
    .await;
    let begun = Instant::now();
    while count(&place, "select count(*) from {topic}").await > 0 {
        assert!(begun.elapsed() < LONG, "it stays");
        sleep(Duration::from_millis(100)).await;
    }
    drop(transport);
}

/// Members that were silent for long are removed when another one joins.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_silent_for_long_is_known_again() {
    let (place, transport) = fresh().await;
    let topic = command("orders.place");
    let member = join(&transport, &topic, "silent").await;
    change(&place, "update {member} set until = 0").await;
    let other = join(&again(&place).await, &topic, "other").await;
    let begun = Instant::now();
    while count(&place, "select count(*) from {member}").await < 2 {
        assert!(begun.elapsed() < LONG, "it is not known");
        member.receive(1, Duration::from_secs(1)).await.unwrap();
    }
    other.close().await.unwrap();
    let states = transport.inspect(&[topic]).await.unwrap();
    let members = &states[0].groups[0].members;
    assert_eq!(members[0].name, "silent");
}

/// The statement with the names of tables.
fn named(place: &Place, statement: &str) -> AssertSqlSafe<String> {
    let name = |statement: String, table_of: &str| {
        statement.replace(&format!("{{{table_of}}}"), &table(place, table_of))
    };
    AssertSqlSafe(
        ["topic", "member"]
            .into_iter()
            .fold(statement.to_owned(), name),
    )
}

async fn change(place: &Place, statement: &str) {
    let mut transaction = begin(place).await;
    let change = sqlx::query(named(place, statement));
    change.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn count(place: &Place, statement: &str) -> i64 {
    let mut transaction = begin(place).await;
    let count = sqlx::query_scalar(named(place, statement));
    count.fetch_one(&mut *transaction).await.unwrap()
}
