//! Dead letters, beyond what the conformance suite asks.

use static_bus::remote::{
    Transport,
    kafka::KafkaTransport,
    transport::{DeadLetterRecord, Kind, Topic},
};

use crate::{brokers::Kafka, support::record};

const DEAD_LETTERS: Topic = Topic {
    kind: Kind::DeadLetter,
    name: std::borrow::Cow::Borrowed(""),
};

async fn with_letters(prefix: &str, count: usize) -> KafkaTransport {
    let builder = KafkaTransport::builder(Kafka::common().servers());
    let kafka = builder.prefix(prefix).connect().await.unwrap();
    let letter = |n: usize| (DEAD_LETTERS, record(n.to_string(), Some("key")));
    let results = kafka.append((0..count).map(letter).collect()).await;
    results.into_iter().collect::<Result<(), _>>().unwrap();
    kafka
}

fn bodies(letters: &[DeadLetterRecord]) -> Vec<&str> {
    let text = letters.iter().map(|letter| &letter.record.body[..]);
    text.map(|body| str::from_utf8(body).unwrap()).collect()
}

/// Those that are removed further on make room for others, and the page has no gap.
#[tokio::test]
async fn a_page_is_full_whatever_was_removed() {
    let kafka = with_letters("dead-pages", 10).await;
    let all = kafka.dead_letters(None, 100).await.unwrap();
    let removed: Vec<_> = [0, 1, 4].map(|n: usize| all[n].position.clone()).into();
    kafka.remove_dead_letters(&removed).await.unwrap();
    let page = kafka.dead_letters(None, 4).await.unwrap();
    assert_eq!(bodies(&page), ["2", "3", "5", "6"]);
    let after = Some(&*page[3].position);
    let page = kafka.dead_letters(after, 4).await.unwrap();
    assert_eq!(bodies(&page), ["7", "8", "9"]);
    let after = Some(&*page[2].position);
    assert!(kafka.dead_letters(after, 4).await.unwrap().is_empty());
    assert!(kafka.dead_letters(None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_position_of_somewhere_else_is_refused() {
    let kafka = with_letters("dead-positions", 1).await;
    for wrong in ["", "7", "x y", "0199a3c5-0"] {
        let listed = kafka.dead_letters(Some(wrong), 1).await;
        let error = listed.expect_err(wrong).to_string();
        assert!(
            error.contains("not the position of a dead letter"),
            "{error}"
        );
        let removed = kafka.remove_dead_letters(&[wrong.to_owned()]).await;
        removed.expect_err(wrong);
    }
    assert_eq!(kafka.dead_letters(None, 2).await.unwrap().len(), 1);
}
