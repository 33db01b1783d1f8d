//! Sending and handling in transactions of SQLite.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqlitePool, Transaction};
use static_bus::prelude::*;
use static_bus_remote::{Envelope, RemoteBus, transport::Consumer as _};
use static_bus_sql::{SqlConsumer, SqliteTransport, transaction};

use super::{
    place::Place,
    support::{LONG, command, join},
};

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

#[derive(Serialize)]
struct Note(String);
command!(Note, name = "billing.note");

#[derive(Serialize, Deserialize)]
struct Total;
query!(Total -> i64, name = "billing.total");

struct Shop {
    place: Place,
    transport: SqliteTransport,
    remote: RemoteBus<SqliteTransport>,
    pool: SqlitePool,
}

impl Shop {
    async fn new() -> Self {
        let place = Place::new();
        let builder = SqliteTransport::builder(place.url()).max_record(10_000);
        let transport = builder.connect().await.unwrap();
        let pool = place.pool().await;
        let table = sqlx::query("create table purchase (id integer primary key)");
        table.execute(&pool).await.unwrap();
        let remote = RemoteBus::connect(transport.clone()).await.unwrap();
        Shop {
            place,
            transport,
            remote,
            pool,
        }
    }

    async fn begin(&self) -> Transaction<'static, Sqlite> {
        self.pool.begin_with("begin immediate").await.unwrap()
    }

    async fn payments(&self) -> SqlConsumer<Sqlite> {
        join(&self.transport, &command("billing.pay"), "member").await
    }
}

/// The invoices that can be taken at once.
async fn invoices(member: &SqlConsumer<Sqlite>) -> Vec<u32> {
    let got = member.receive(1000, Duration::ZERO).await.unwrap();
    let invoice = |body: &[u8]| serde_json::from_slice::<Pay>(body).unwrap().invoice;
    got.iter()
        .map(|delivery| invoice(&delivery.record.body))
        .collect()
}

#[tokio::test]
async fn messages_of_a_transaction_keep_their_order_and_the_attributes_of_the_client() {
    let shop = Shop::new().await;
    let payments = shop.payments().await;
    let remote = shop
        .remote
        .with_idempotency_key("yearly")
        .with_header("tenant", "acme")
        .unwrap();
    let mut transaction = shop.begin().await;
    let bus = remote.within(&mut transaction);
    for invoice in [5, 3, 4, 3] {
        bus.execute_async(Pay { invoice }).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let got = payments.receive(10, Duration::ZERO).await.unwrap();
    let keys: Vec<_> = got.iter().filter_map(|d| d.record.key.as_deref()).collect();
    assert_eq!(keys, ["5", "3", "4", "3"]);
    let envelope = Envelope::parse(&got[0].record.headers).unwrap();
    assert_eq!(envelope.idempotency_key.as_deref(), Some("yearly"));
    assert_eq!(envelope.header("tenant"), Some("acme"));
}

#[tokio::test]
async fn members_that_wait_are_woken_by_the_commit() {
    let shop = Shop::new().await;
    let payments = shop.payments().await;
    let mut fastest = LONG;
    for invoice in 0..20 {
        let mut transaction = shop.begin().await;
        let sent = shop.remote.within(&mut transaction);
        sent.execute_async(Pay { invoice }).await.unwrap();
        let receive = async {
            assert_eq!(payments.receive(10, LONG).await.unwrap().len(), 1);
            Instant::now()
        };
        let commit = async {
            // The member has looked, and looks again by itself after 500 ms.
            tokio::time::sleep(Duration::from_millis(20)).await;
            transaction.commit().await.unwrap();
            Instant::now()
        };
        let (received, committed) = tokio::join!(receive, commit);
        fastest = fastest.min(received.saturating_duration_since(committed));
    }
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
}

#[tokio::test]
async fn a_message_that_is_refused_leaves_the_transaction_as_it_was() {
    let shop = Shop::new().await;
    let payments = shop.payments().await;
    let mut transaction = shop.begin().await;
    let bus = shop.remote.within(&mut transaction);
    bus.execute_async(Pay { invoice: 1 }).await.unwrap();
    let long = Note("x".repeat(20_000));
    let error = bus.execute_async(long).await.unwrap_err().to_string();
    let expected = format!(
        "billing.note: the broker did not take it: {}: the record of command billing.note has ",
        shop.place.url()
    );
    assert!(error.starts_with(&expected), "{error}");
    let remedy = " bytes, and the limit is 10000: send less, or raise `max_record`";
    assert!(error.ends_with(remedy), "{error}");
    bus.execute_async(Pay { invoice: 2 }).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(invoices(&payments).await, [1, 2]);
}

#[tokio::test]
async fn a_transaction_of_another_database_is_refused_by_name() {
    let (shop, other) = (Shop::new().await, Place::new());
    let pool = SqlitePool::connect(&format!("{}?mode=rwc", other.url()))
        .await
        .unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let bus = shop.remote.within(&mut transaction);
    let error = bus.execute_async(Pay { invoice: 1 }).await.unwrap_err();
    let expected = format!(
        "billing.pay: the broker did not take it: {}: no such table: static_bus_topic: connect again if the tables \
         are gone; a transaction must be of the database of the bus",
        shop.place.url()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_transaction_that_has_read_before_another_wrote_is_refused_with_the_remedy() {
    let shop = Shop::new().await;
    let payments = shop.payments().await;
    let mut late = shop.pool.begin().await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("select count(*) from purchase");
    assert_eq!(count.fetch_one(&mut *late).await.unwrap(), 0);
    shop.remote.execute_async(Pay { invoice: 1 }).await.unwrap();

    let bus = shop.remote.within(&mut late);
    let error = bus.execute_async(Pay { invoice: 2 }).await.unwrap_err();
    let expected = format!(
        "billing.pay: the broker did not take it: {}: database is locked: the transaction began with a read, and others have written \
         since: begin it with `begin immediate`",
        shop.place.url()
    );
    assert_eq!(error.to_string(), expected);
    late.rollback().await.unwrap();
    assert_eq!(invoices(&payments).await, [1]);
}

#[tokio::test]
async fn a_query_of_a_handler_with_an_open_transaction_is_refused_at_once() {
    let shop = Shop::new().await;
    let pay = async {
        drop(transaction::<Sqlite>().await.unwrap());
        shop.remote.send_async(Total).await
    };
    let reason = "query billing.total would wait for the transaction that is open in the handler which sends it: send it before the \
                  handler asks for the transaction";
    let expected = format!(
        "billing.total: the broker did not take it: {}: {reason}",
        shop.place.url()
    );
    assert_eq!(
        shop.transport
            .transact(pay)
            .await
            .unwrap()
            .unwrap_err()
            .to_string(),
        expected
    );
}
