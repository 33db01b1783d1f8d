//! Groups that join a command with a backlog.

use std::{collections::BTreeMap, time::Duration};

use sqlx::AssertSqlSafe;
use static_bus_remote::{
    Transport,
    transport::{Consumer, Subscription},
};

use super::{
    again, begin, fresh,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record},
    table,
};

/// The number of records that a member takes over in a transaction.
const STEP: i64 = 1000;

#[tokio::test]
async fn a_group_takes_over_a_long_backlog_in_bounded_steps() {
    let (place, transport) = fresh().await;
    let topic = command("orders.place");
    let some = (0..1000).map(|n| keyed(&format!("customer {}", n % 100), n));
    append(&transport, &topic, some).await.unwrap();
    let [records, deliveries] = ["record", "delivery"].map(|name| table(&place, name));
    let mut transaction = begin(&place).await;
    for _ in 0..6 {
        let double = format!(
            "insert into {records} (topic_id, strand, key, headers, body, appended_at) \
             select topic_id, strand, key, headers, body, appended_at from {records}"
        );
        let double = sqlx::query(AssertSqlSafe(double));
        double.execute(&mut *transaction).await.unwrap();
    }
    let wait = format!(
        "insert into {deliveries} (group_id, record_id, strand, fresh) select -topic_id, id, strand, true from {records} where id > 1000"
    );
    let wait = sqlx::query(AssertSqlSafe(wait));
    wait.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();

    let taken_over = async || {
        let count = format!("select count(*) from {deliveries} where group_id > 0");
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(count));
        count.fetch_one(&mut *begin(&place).await).await.unwrap()
    };
    let member = join(&transport, &topic, "member").await;
    assert_eq!(taken_over().await, 0);
    assert_eq!(member.backlog().await.unwrap().lag, 64_000);
    assert_eq!(member.receive(10, LONG).await.unwrap().len(), 10);
    assert_eq!(taken_over().await, STEP);
    let backlog = member.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (10, 63_990));
    // A further group gets the same records.
    let auditors = Subscription::new(topic.clone(), "auditors", "auditor");
    let auditor = transport.consume(auditors).await.unwrap();
    assert_eq!(taken_over().await, STEP);
    assert_eq!(auditor.backlog().await.unwrap().lag, 64_000);
    assert_eq!(auditor.receive(10, LONG).await.unwrap().len(), 10);
    // It copies some, and adopts some for the first group.
    assert_eq!(taken_over().await, 3 * STEP);
}

/// What the members of a group have acknowledged.
#[derive(Default)]
struct Handled(BTreeMap<String, Vec<usize>>);

impl Handled {
    /// Receives and acknowledges, until there is nothing more or this many were received.
    async fn some(&mut self, member: &impl Consumer, most: usize) {
        let mut count = 0;
        while count < most {
            let got = member.receive(100, Duration::ZERO).await.unwrap();
            if got.is_empty() {
                return;
            }
            acknowledge(member, &got).await.unwrap();
            count += got.len();
            for (delivery, body) in got.iter().zip(bodies(&got)) {
                let key = delivery.record.key.as_deref().unwrap_or_default();
                let of_key = self.0.entry(key.to_owned()).or_default();
                of_key.push(body.parse().unwrap());
            }
        }
    }

    fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Fails if a record came twice, or the records of a key came in another order.
    fn check(mut self) {
        // Without a key they have no order.
        self.0.entry(String::new()).or_default().sort_unstable();
        for bodies in self.0.values() {
            assert!(
                bodies.windows(2).all(|pair| pair[0] < pair[1]),
                "{bodies:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_backlog_is_taken_over_once_and_in_order_while_members_vanish_and_senders_go_on() {
    let (place, transport) = fresh().await;
    let topic = command("orders.place");
    let make = |n: usize| match n % 5 {
        0 => record(n),
        _ => keyed(&format!("customer {}", n % 97), n),
    };
    let send = async |from: usize, to: usize| {
        for from in (from..to).step_by(500) {
            append(&transport, &topic, (from..from + 500).map(make))
                .await
                .unwrap();
        }
    };
    send(0, 4_000).await;
    let (mut handled, mut audited) = (Handled::default(), Handled::default());
    let mut handled_before = 0;
    let auditors = || Subscription::new(topic.clone(), "auditors", "auditor");
    for n in 0..4 {
        let process = again(&place).await;
        let member = join(&process, &topic, "member").await;
        handled.some(&member, 500).await;
        // The second group joins while the first one is taking over.
        if n == 1 {
            handled_before = handled.count();
            audited
                .some(&process.consume(auditors()).await.unwrap(), 300)
                .await;
        }
        send(4_000 + n * 500, 4_500 + n * 500).await;
    }
    let member = join(&transport, &topic, "member").await;
    handled.some(&member, usize::MAX).await;
    assert_eq!(handled.count(), 6_000);
    handled.check();
    let auditor = transport.consume(auditors()).await.unwrap();
    audited.some(&auditor, usize::MAX).await;
    assert_eq!(audited.count(), 6_000 - handled_before);
    audited.check();
    let left = format!("select count(*) from {}", table(&place, "record"));
    let left = sqlx::query_scalar::<_, i64>(AssertSqlSafe(left));
    assert_eq!(left.fetch_one(&mut *begin(&place).await).await.unwrap(), 0);
}
