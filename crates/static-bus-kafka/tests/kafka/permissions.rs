//! Users with the permissions that the guide names, and without single ones.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use static_bus_kafka::{KafkaTransport, KafkaTransportBuilder, Sasl};
use static_bus_remote::{
    Transport as _,
    transport::{
        Claim, Consumer as _, Inspect as _, Kind, Lease, Receiver as _, Subscription, Topic,
        TransportErrorKind,
    },
};
use tokio::sync::OnceCell;

use crate::{dead_letters::letters_of_a_handler_that_sends, exactly_once, support::*};
use test_brokers::kafka::{Kafka, KafkaOptions};

/// A rule for `alice`: the type of the resource, its name, the type of the pattern, the operation, and the kind of
/// permission.
type Rule<'r> = (u8, &'r str, u8, u8, u8);
const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const TRANSACTIONAL_ID: u8 = 5;
const LITERAL: u8 = 3;
const PREFIXED: u8 = 4;
const ALL: u8 = 2;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const ALTER_CONFIGS: u8 = 11;
const DENY: u8 = 2;
const ALLOW: u8 = 3;

/// Adds a rule.
fn add(servers: &str, (resource, name, pattern, operation, permission): Rule<'_>) {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    // `CreateAcls`, version 1, of one rule.
    let request = [
        &[0, 30, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, resource][..],
        &text(name),
        &[pattern],
        &text("User:alice"),
        &text("*"),
        &[operation, permission],
    ]
    .concat();
    let mut stream = TcpStream::connect(servers).unwrap();
    let size = u32::try_from(request.len()).unwrap();
    stream.write_all(&size.to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    // The size, the id, the time of throttling, the number of results, and the error of the first.
    let mut response = [0; 18];
    stream.read_exact(&mut response).unwrap();
    assert_eq!(response[12..], [0, 0, 0, 1, 0, 0], "{response:?}");
}

/// The cluster, and a connection of `alice`, who has the permissions for some namespaces.
async fn alice(namespace: &str) -> (&'static Kafka, KafkaTransportBuilder) {
    static KAFKA: OnceCell<Kafka> = OnceCell::const_new();
    let start = || {
        let server = Kafka::with(KafkaOptions {
            secure: true,
            properties: vec![
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                    .into(),
                "super.users=User:ANONYMOUS".into(),
            ],
            ..KafkaOptions::default()
        });
        for prefix in ["shop.", "queries.", "sends.", "given.", "once.", "refused."] {
            for resource in [TOPIC, GROUP] {
                add(server.servers(), (resource, prefix, PREFIXED, ALL, ALLOW));
            }
        }
        for rule in [
            (GROUP, "queries.query.hidden@handlers", LITERAL, ALL, DENY),
            (TOPIC, "sends.command.billing.receipt", LITERAL, ALL, DENY),
            (TOPIC, "given.", PREFIXED, CREATE, DENY),
            (TOPIC, "given.", PREFIXED, ALTER_CONFIGS, DENY),
            (TRANSACTIONAL_ID, "once.", PREFIXED, ALL, ALLOW),
            (
                TOPIC,
                "refused.command.billing.receipt",
                LITERAL,
                WRITE,
                DENY,
            ),
            (TRANSACTIONAL_ID, "refused.", PREFIXED, ALL, ALLOW),
        ] {
            add(server.servers(), rule);
        }
        server
    };
    let start = || async { tokio::task::spawn_blocking(start).await.unwrap() };
    let server = KAFKA.get_or_init(start).await;
    let sasl = Sasl::Plain {
        user: "alice".to_owned(),
        password: "alice-secret".to_owned(),
    };
    let builder = kafka_at(server.sasl()).sasl(sasl).namespace(namespace);
    (server, builder.partitions(2))
}

async fn connect(namespace: &str) -> KafkaTransport {
    alice(namespace).await.1.connect().await.unwrap()
}

fn query(name: &'static str) -> Topic {
    Topic {
        kind: Kind::Query,
        name: name.into(),
    }
}

/// What services and the tool of operators do needs no other permission.
#[tokio::test]
async fn the_permissions_of_the_guide_are_sufficient() {
    let kafka = connect("shop").await;
    let (users, orders) = (query("users.get"), command("orders.place"));
    let receiver = kafka.listen(users.clone()).await.unwrap();
    let letters = Topic {
        kind: Kind::DeadLetter,
        name: "".into(),
    };
    let topics = [users.clone(), orders.clone(), orders.clone(), letters];
    let records = topics.map(|topic| (topic, record("1", Some("key"))));
    for result in kafka.append(records.into()).await {
        result.unwrap();
    }
    assert_eq!(receiver.receive(1, LONG).await.unwrap().len(), 1);

    let consumer = Subscription::new(orders.clone(), "handlers", "orders-1");
    let consumer = kafka.consume(consumer).await.unwrap();
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(consumer.receive(2, LONG).await.unwrap());
    }
    let claims = consumer.claim(&["id".into()]).await.unwrap();
    assert_eq!(claims, [Claim::Granted]);
    let lease = Lease {
        receipt: held[0].receipt,
        claim: Some("id".into()),
    };
    consumer.acknowledge(&[lease]).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap().pending, 1);

    let topics = kafka.topics().await.unwrap();
    assert_eq!(topics.len(), 3, "{topics:?}");
    let states = kafka.inspect(&topics).await.unwrap();
    let sizes: Vec<_> = states.iter().map(|state| state.stored).collect();
    assert_eq!(sizes, [1, 2, 1]);
    let group = &states[1].groups[0];
    assert_eq!((group.backlog.lag, group.members.len()), (1, 1));
    assert_eq!(group.oldest.len(), 1, "{group:?}");
    consumer.close().await.unwrap();
    // Without members, the age of the oldest record is read from the topic.
    let observer = Subscription::new(orders, "handlers", "observer");
    let observer = kafka.consume(observer).await.unwrap();
    let backlog = observer.backlog().await.unwrap();
    assert!(
        backlog.lag == 1 && backlog.oldest > Duration::ZERO,
        "{backlog:?}"
    );

    let letters = kafka.dead_letters(None, 10).await.unwrap();
    let positions = [letters[0].position.clone()];
    kafka.remove_dead_letters(&positions).await.unwrap();
    assert_eq!(kafka.dead_letters(None, 10).await.unwrap().len(), 0);
}

/// The settings of the topics are those of the guide.
#[tokio::test]
async fn a_user_who_may_not_create_topics_uses_those_of_an_administrator() {
    let (server, builder) = alice("given").await;
    let request = [("retention.ms", "600000"), ("segment.ms", "600000")];
    let claims = [
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "1260000"),
        ("segment.ms", "315000"),
        ("max.message.bytes", "524288"),
    ];
    for (name, partitions, settings) in [
        (
            "command.billing.pay",
            2,
            &[("retention.ms", "604800000")][..],
        ),
        ("replies", 2, &request),
        ("dead-letters", 1, &[("cleanup.policy", "compact")]),
        ("claims.command.billing.pay-at-handlers", 1, &claims),
    ] {
        let name = format!("given.{name}");
        create_at(server.servers(), &name, partitions, settings).await;
    }
    let kafka = builder.connect().await.unwrap();
    for letter in letters_of_a_handler_that_sends(kafka, 10).await {
        let expected = "creating the topic given.command.billing.receipt: TopicAuthorizationFailed";
        assert!(letter.error.contains(expected), "{}", letter.error);
    }
}

/// A handler's output and its acknowledgement are one transaction, which has a permission of its own.
#[tokio::test]
async fn exactly_once_needs_the_permission_for_transactions() {
    for (namespace, is_permitted) in [("once", true), ("queries", false)] {
        let builder = alice(namespace).await.1;
        let kafka = builder.exactly_once().connect().await.unwrap();
        match exactly_once::handle_one(&kafka).await {
            Ok(()) => assert!(is_permitted),
            Err(error) => {
                assert!(!is_permitted, "{error}");
                assert_eq!(error.kind(), TransportErrorKind::Unauthorized, "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_handler_that_may_not_send_makes_a_dead_letter_and_its_key_goes_on() {
    let kafka = connect("sends").await;
    for letter in letters_of_a_handler_that_sends(kafka, 10).await {
        assert_eq!(letter.attempts, 3, "{}", letter.error);
        let expected = "sends.command.billing.receipt: TopicAuthorizationFailed";
        assert!(letter.error.contains(expected), "{}", letter.error);
    }
}

/// The topic exists, so that the cluster refuses the output only when it is appended.
#[tokio::test]
async fn output_that_is_refused_makes_a_dead_letter_and_its_key_goes_on() {
    let builder = alice("refused").await.1;
    let kafka = builder.exactly_once().connect().await.unwrap();
    for letter in letters_of_a_handler_that_sends(kafka, 10).await {
        assert_eq!(letter.attempts, 3, "{}", letter.error);
        let expected = "refused.command.billing.receipt: TopicAuthorizationFailed";
        assert!(letter.error.contains(expected), "{}", letter.error);
    }
}

#[tokio::test]
async fn a_query_is_accepted_if_the_sender_cannot_know_its_receivers() {
    let kafka = connect("queries").await;
    let send = async |name: &'static str| {
        let records = vec![(query(name), record("", None))];
        kafka.append(records).await.remove(0)
    };
    send("hidden").await.unwrap();
    // A new cluster has no coordinator of groups at first.
    let begin = Instant::now();
    let refused = loop {
        match send("visible").await {
            Ok(()) => assert!(begin.elapsed() < LONG, "accepted"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), TransportErrorKind::NoReceiver, "{refused}");
    // One permission says nothing about another group.
    send("hidden").await.unwrap();
}
