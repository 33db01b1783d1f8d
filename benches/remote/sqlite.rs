//! Bare statements of the `sqlx` crate, on SQLite.
//!
//! The tables and the writes are those of [`postgres`](super::postgres). As SQLite has one writer at a time, those of
//! this process take turns: SQLite itself would let them poll for its lock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, Pool, Row as _, Sqlite, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{
    sync::{Mutex, Notify},
    time::sleep,
};
use uuid::Uuid;

use super::messages::{Put, attributes};

/// The greatest number of records that are leased at a time: that of static-bus.
const BATCH: i64 = 512;

/// The interval at which a process looks for rows of another one: that of static-bus.
const POLL: Duration = Duration::from_millis(10);

const TABLES: &str = "\
    create table if not exists record (id integer primary key, key blob, headers blob not null, body blob not null, \
        at integer not null default (unixepoch())); \
    create table if not exists delivery (consumer integer not null, record integer not null, until integer not null \
        default 0, times integer not null default 0, primary key (consumer, record)) without rowid; \
    create index if not exists ready on delivery (consumer, record) where until = 0; \
    create index if not exists leased on delivery (consumer, until) where until > 0; \
    create table if not exists handled (consumer integer not null, key blob not null, until integer not null, \
        primary key (consumer, key)) without rowid; \
    create table if not exists sent (id integer primary key, headers blob not null, body blob not null); \
    create table if not exists call (id integer primary key, topic integer not null, headers blob not null, \
        body blob not null); \
    create index if not exists call_topic on call (topic, id); \
    delete from record; delete from delivery; delete from sent; delete from call";

const DELIVER: &str =
    "insert into delivery (consumer, record) select 1, id from record where id > $1 - $2";

const LEASE: &str = "update delivery set until = unixepoch() + 30, times = times + 1 \
    where consumer = 1 and record in (select record from delivery indexed by ready \
        where consumer = 1 and until = 0 order by record limit +$1) \
    returning record, (select key from record as r where r.id = record), \
        (select headers from record as r where r.id = record), (select body from record as r where r.id = record), \
        exists (select 1 from handled as h, record as r where r.id = record and h.consumer = 1 and h.key = r.key)";

const REMEMBER: &str = "insert into handled (consumer, key, until) select 1, r.key, unixepoch() + 600 \
    from json_each($1) as settled join record as r on r.id = settled.value where true on conflict do nothing";
const SETTLE: [&str; 2] = [
    "delete from delivery where consumer = 1 and record in (select value from json_each($1))",
    "delete from record where id in (select value from json_each($1))",
];

const SEND: &str = "insert into sent (headers, body) values ($1, $2)";
const CALL: &str = "insert into call (topic, headers, body) values ($1, $2, $3)";
const WAITS: &str = "select 1 from call where topic = $1 limit 1";
const RECEIVE: &str = "delete from call where id = (select id from call where topic = $1 order by id limit 1) \
    returning headers, body";

/// The connections of a process.
#[derive(Clone)]
struct Database {
    /// Waits for the disk.
    durable: Pool<Sqlite>,
    volatile: Pool<Sqlite>,
    reader: Pool<Sqlite>,
    turn: Arc<Mutex<()>>,
}

impl Database {
    async fn open(url: &str) -> Self {
        let options: SqliteConnectOptions = url.parse().expect("the address is right");
        let options = options
            .create_if_missing(true)
            .row_buffer_size(1024)
            .journal_mode(SqliteJournalMode::Wal);
        let connect = async |options| {
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .test_before_acquire(false);
            pool.connect_with(options).await.expect("it is a file")
        };
        let durable = options.clone().synchronous(SqliteSynchronous::Full);
        let volatile = options.clone().synchronous(SqliteSynchronous::Normal);
        Database {
            durable: connect(durable).await,
            volatile: connect(volatile).await,
            reader: connect(options).await,
            turn: Arc::default(),
        }
    }

    /// With empty tables.
    async fn prepared(url: &str) -> Self {
        let database = Self::open(url).await;
        let made = raw_sql(TABLES).execute(&database.durable).await;
        made.expect("the tables");
        database
    }

    async fn append(&self, count: usize) {
        let _turn = self.turn.lock().await;
        let (headers, body) = (attributes(), Put::bytes());
        let mut transaction = self
            .durable
            .begin_with("begin immediate")
            .await
            .expect("begin");
        let rows = vec!["(?, ?, ?)"; count].join(", ");
        let insert = format!("insert into record (key, headers, body) values {rows}");
        let mut insert = sqlx::query(AssertSqlSafe(insert));
        for _ in 0..count {
            let key = Uuid::now_v7().as_bytes().to_vec();
            insert = insert.bind(key).bind(&headers).bind(&body);
        }
        let inserted = insert.execute(&mut *transaction).await.expect("insert");
        let deliver = sqlx::query(DELIVER)
            .bind(inserted.last_insert_rowid())
            .bind(count as i64);
        deliver.execute(&mut *transaction).await.expect("insert");
        transaction.commit().await.expect("commit");
    }

    /// The numbers.
    async fn lease(&self) -> Vec<i64> {
        let _turn = self.turn.lock().await;
        let lease = sqlx::query(LEASE).bind(BATCH);
        let leased = lease.fetch_all(&self.volatile).await.expect("lease");
        let record = |row: &sqlx::sqlite::SqliteRow| {
            std::hint::black_box((row.get::<&[u8], _>(2), row.get::<&[u8], _>(3)));
            row.get(0)
        };
        leased.iter().map(record).collect()
    }

    async fn settle(&self, leased: &[i64], remembers: bool) {
        if leased.is_empty() {
            return;
        }
        let _turn = self.turn.lock().await;
        let list = serde_json::to_string(leased).expect("numbers");
        let mut transaction = self
            .durable
            .begin_with("begin immediate")
            .await
            .expect("begin");
        let remember = remembers.then_some(REMEMBER);
        for statement in remember.into_iter().chain(SETTLE) {
            let statement = sqlx::query(statement).bind(&list);
            statement.execute(&mut *transaction).await.expect("settle");
        }
        transaction.commit().await.expect("commit");
    }

    async fn call(&self, topic: i64, body: &[u8]) {
        let _turn = self.turn.lock().await;
        let call = sqlx::query(CALL).bind(topic).bind(attributes()).bind(body);
        call.execute(&self.volatile).await.expect("insert");
    }

    /// The next row of a topic. It looks again when it is woken, or polls.
    async fn receive(&self, topic: i64, wake: Option<&Notify>) -> Vec<u8> {
        loop {
            let waits = sqlx::query(WAITS).bind(topic);
            let waits = waits.fetch_optional(&self.reader).await.expect("select");
            if waits.is_none() {
                match wake {
                    Some(wake) => wake.notified().await,
                    None => sleep(POLL).await,
                }
                continue;
            }
            let _turn = self.turn.lock().await;
            let receive = sqlx::query(RECEIVE).bind(topic);
            let received = receive.fetch_optional(&self.volatile).await;
            if let Some(row) = received.expect("delete") {
                return row.get(1);
            }
        }
    }
}

/// Appended in transactions of 100, leased and settled in transactions.
pub async fn commands(url: &str, count: usize, remembers: bool) -> Duration {
    let database = Database::prepared(url).await;
    let appended = Arc::new(Notify::new());
    database.append(1).await;
    let first = database.lease().await;
    database.settle(&first, remembers).await;
    let started = Instant::now();
    let consuming = tokio::spawn({
        let (database, appended) = (database.clone(), appended.clone());
        async move {
            let mut handled = 0;
            while handled < count {
                let leased = database.lease().await;
                if leased.is_empty() {
                    appended.notified().await;
                }
                database.settle(&leased, remembers).await;
                handled += leased.len();
            }
        }
    });
    for _ in 0..count / 100 {
        database.append(100).await;
        appended.notify_one();
    }
    consuming.await.expect("it does not panic");
    started.elapsed()
}

/// One insertion for each.
pub async fn send_each(url: &str, count: usize, together: usize) -> Duration {
    let database = Database::prepared(url).await;
    let started = Instant::now();
    let senders = (0..together).map(|_| {
        let database = database.clone();
        tokio::spawn(async move {
            let (headers, body) = (attributes(), Put::bytes());
            for _ in 0..count / together {
                let _turn = database.turn.lock().await;
                let send = sqlx::query(SEND).bind(&headers).bind(&body);
                send.execute(&database.durable).await.expect("insert");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it does not panic");
    }
    started.elapsed()
}

/// A row in each direction, one after the other, between two parts of one process that wake each other.
pub async fn round_trips(url: &str, count: usize) -> Vec<Duration> {
    let database = Database::prepared(url).await;
    let (called, answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let serving = tokio::spawn({
        let (database, called, answered) = (database.clone(), called.clone(), answered.clone());
        async move {
            for _ in 0..count {
                let body = database.receive(1, Some(&called)).await;
                database.call(2, &body).await;
                answered.notify_one();
            }
        }
    });
    let body = Put::bytes();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        database.call(1, &body).await;
        called.notify_one();
        let answer = database.receive(2, Some(&answered));
        std::hint::black_box(answer.await);
        times.push(started.elapsed());
    }
    serving.await.expect("it does not panic");
    times
}

/// The same between two processes, which poll.
pub async fn round_trips_between(url: &str, count: usize) -> Vec<Duration> {
    let client = Database::prepared(url).await;
    let server = Database::open(url).await;
    let serving = tokio::spawn(async move {
        for _ in 0..count {
            let body = server.receive(1, None).await;
            server.call(2, &body).await;
        }
    });
    let body = Put::bytes();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        client.call(1, &body).await;
        std::hint::black_box(client.receive(2, None).await);
        times.push(started.elapsed());
    }
    serving.await.expect("it does not panic");
    times
}
