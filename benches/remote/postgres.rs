//! Bare statements of the `sqlx` crate, on PostgreSQL.
//!
//! The tables and the writes of a queue with groups, leases and deduplication, without keys, waking of other processes
//! and anything else: a batch is one statement in each of its three steps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    PgConnection, Pool, Postgres, Row as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    raw_sql,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::messages::{Put, attributes};

/// The greatest number of records that are leased at a time: that of static-bus.
const BATCH: i64 = 512;

const TABLES: &str = "create schema if not exists bare; \
    create table if not exists bare.record (id bigint generated always as identity primary key, key bytea, \
        headers bytea not null, body bytea not null, at timestamptz not null default now()); \
    create table if not exists bare.delivery (consumer bigint not null, record bigint not null, until timestamptz, \
        times bigint not null default 0, primary key (consumer, record)); \
    create index if not exists ready on bare.delivery (consumer, record) where until is null; \
    create index if not exists leased on bare.delivery (consumer, until) where until is not null; \
    create table if not exists bare.handled (consumer bigint not null, key bytea not null, until timestamptz not null, \
        primary key (consumer, key)); \
    create table if not exists bare.sent (id bigint generated always as identity primary key, headers bytea not null, \
        body bytea not null); \
    create table if not exists bare.call (id bigint generated always as identity primary key, topic bigint not null, \
        headers bytea not null, body bytea not null); \
    create index if not exists call_topic on bare.call (topic, id); \
    truncate bare.record, bare.delivery, bare.sent, bare.call";

const APPEND: &str = "with appended as (insert into bare.record (key, headers, body) \
    select * from unnest($1::bytea[], $2::bytea[], $3::bytea[]) returning id) \
    insert into bare.delivery (consumer, record) select 1, id from appended";

const LEASE: &str = "with leased as (update bare.delivery set until = now() + interval '30 s', times = times + 1 \
    where ctid = any (array (select ctid from bare.delivery \
        where consumer = 1 and until is null order by record limit $1 for update skip locked)) returning record, times) \
    select r.id, l.times, r.key, r.headers, r.body, \
        exists (select from bare.handled as h where h.consumer = 1 and h.key = r.key) \
    from leased as l join bare.record as r on r.id = l.record";

const SETTLE: &str = "with settled as (delete from bare.delivery where consumer = 1 and record = any ($1)) \
    delete from bare.record where id = any ($1)";

const SETTLE_AND_REMEMBER: &str = "with remembered as (insert into bare.handled \
        select 1, key, now() + interval '10 min' from unnest($2::bytea[]) as keys (key) on conflict do nothing), \
    settled as (delete from bare.delivery where consumer = 1 and record = any ($1)) \
    delete from bare.record where id = any ($1)";

const SEND: &str = "insert into bare.sent (headers, body) values ($1, $2)";

const CALL: &str = "with called as (insert into bare.call (topic, headers, body) values ($1, $2, $3)) \
    select pg_notify('bare_' || $1, '')";

const RECEIVE: &str = "delete from bare.call where id = any (array (select id from bare.call where topic = $1 \
    order by id limit $2 for update skip locked)) returning headers, body";

/// Connections whose commits wait for the disk, or do not.
async fn connect(url: &str, is_durable: bool, connections: u32) -> Pool<Postgres> {
    let options: PgConnectOptions = url.parse().expect("the address is right");
    let commit = if is_durable { "on" } else { "off" };
    // Plans by an index, as the tables are long one minute and empty the next.
    let options = options.options([
        ("synchronous_commit", commit),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false);
    let pool = pool.connect_with(options).await;
    pool.expect("the server was started")
}

async fn prepare(url: &str) {
    let pool = connect(url, true, 1).await;
    raw_sql(TABLES).execute(&pool).await.expect("the tables");
}

/// Appended in statements of 100, leased and settled in statements.
pub async fn commands(url: &str, count: usize, remembers: bool) -> Duration {
    prepare(url).await;
    let producer = connect(url, true, 1).await;
    let (leasing, settling) = (connect(url, false, 1).await, connect(url, true, 1).await);
    let appended = Arc::new(Notify::new());
    append(&producer, 1).await;
    let first = lease(&leasing).await;
    settle(&settling, &first, remembers).await;
    let started = Instant::now();
    let consuming = tokio::spawn({
        let appended = appended.clone();
        async move {
            let (mut handled, mut last) = (0, Vec::new());
            while handled < count {
                let (leased, ()) =
                    tokio::join!(lease(&leasing), settle(&settling, &last, remembers));
                if leased.is_empty() {
                    appended.notified().await;
                }
                handled += leased.len();
                last = leased;
            }
            settle(&settling, &last, remembers).await;
        }
    });
    for _ in 0..count / 100 {
        append(&producer, 100).await;
        appended.notify_one();
    }
    consuming.await.expect("it does not panic");
    started.elapsed()
}

async fn append(pool: &Pool<Postgres>, count: usize) {
    let (headers, body) = (attributes(), Put::bytes());
    let keys: Vec<_> = (0..count)
        .map(|_| Uuid::now_v7().as_bytes().to_vec())
        .collect();
    let append = sqlx::query(APPEND)
        .bind(keys)
        .bind(vec![headers; count])
        .bind(vec![body; count]);
    append.execute(pool).await.expect("they are appended");
}

/// The number and the key of each.
async fn lease(pool: &Pool<Postgres>) -> Vec<(i64, Vec<u8>)> {
    let leased = sqlx::query(LEASE).bind(BATCH).fetch_all(pool).await;
    let leased = leased.expect("they are leased");
    let record = |row: &sqlx::postgres::PgRow| {
        std::hint::black_box((row.get::<&[u8], _>(3), row.get::<&[u8], _>(4)));
        (row.get(0), row.get(2))
    };
    leased.iter().map(record).collect()
}

async fn settle(pool: &Pool<Postgres>, leased: &[(i64, Vec<u8>)], remembers: bool) {
    if leased.is_empty() {
        return;
    }
    let (numbers, keys): (Vec<_>, Vec<_>) = leased.iter().cloned().unzip();
    let settle = match remembers {
        true => sqlx::query(SETTLE_AND_REMEMBER).bind(numbers).bind(keys),
        false => sqlx::query(SETTLE).bind(numbers),
    };
    settle.execute(pool).await.expect("they are settled");
}

/// One insertion for each, on up to ten connections.
pub async fn send_each(url: &str, count: usize, together: usize) -> Duration {
    prepare(url).await;
    let pool = connect(url, true, 10).await;
    let started = Instant::now();
    let senders = (0..together).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (headers, body) = (attributes(), Put::bytes());
            for _ in 0..count / together {
                let send = sqlx::query(SEND).bind(&headers).bind(&body);
                send.execute(&pool).await.expect("it is sent");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it does not panic");
    }
    started.elapsed()
}

/// A row in each direction, one after the other, with notifications.
pub async fn round_trips(url: &str, count: usize) -> Vec<Duration> {
    prepare(url).await;
    let mut server = Side::new(url, 1).await;
    let mut client = Side::new(url, 2).await;
    let serving = tokio::spawn(async move {
        for _ in 0..count {
            let body = server.receive().await;
            server.call(2, &body).await;
        }
    });
    let body = Put::bytes();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        client.call(1, &body).await;
        std::hint::black_box(client.receive().await);
        times.push(started.elapsed());
    }
    serving.await.expect("it does not panic");
    times
}

/// One of two processes that call each other.
struct Side {
    topic: i64,
    connection: PgConnection,
    listener: PgListener,
    headers: Vec<u8>,
}

impl Side {
    async fn new(url: &str, topic: i64) -> Self {
        let mut listener = PgListener::connect(url).await.expect("it connects");
        let channel = format!("bare_{topic}");
        listener.listen(&channel).await.expect("it listens");
        let pool = connect(url, false, 1).await;
        let connection = pool.acquire().await.expect("it connects").detach();
        Side {
            topic,
            connection,
            listener,
            headers: attributes(),
        }
    }

    async fn call(&mut self, topic: i64, body: &[u8]) {
        let call = sqlx::query(CALL).bind(topic).bind(&self.headers).bind(body);
        call.execute(&mut self.connection)
            .await
            .expect("it is sent");
    }

    async fn receive(&mut self) -> Vec<u8> {
        loop {
            self.listener.recv().await.expect("a notification");
            let receive = sqlx::query(RECEIVE).bind(self.topic).bind(BATCH);
            let received = receive.fetch_optional(&mut self.connection).await;
            if let Some(row) = received.expect("it is received") {
                return row.get(1);
            }
        }
    }
}
