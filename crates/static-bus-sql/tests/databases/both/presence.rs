//! Receivers whose topic was removed.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use static_bus_remote::transport::{Kind, Receiver as _, Topic, Transport as _};

use super::{
    again, begin, fresh,
    support::{LONG, append, record},
    table,
};

/// The topic of replies to a process that was suspended is removed. A reply that is late makes it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_replies_that_was_made_again_has_its_receiver() {
    let (place, transport) = fresh().await;
    let topic = Topic {
        kind: Kind::Reply,
        name: "process".into(),
    };
    let receiver = transport.listen(topic.clone()).await.unwrap();
    let mut transaction = begin(&place).await;
    let remove = format!(
        "delete from {} where kind = 'reply'",
        table(&place, "topic")
    );
    let remove = sqlx::query(AssertSqlSafe(remove));
    remove.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
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
