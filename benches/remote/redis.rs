//! Bare calls of the `redis` crate.

use std::time::{Duration, Instant};

use redis::{
    AsyncConnectionConfig, Client,
    aio::MultiplexedConnection,
    pipe,
    streams::{StreamId, StreamReadReply},
};
use uuid::Uuid;

use super::{WINDOW, messages::Put};

const STREAM: &str = "bare:stream";
const GROUP: &str = "bare";

async fn connect(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).expect("the address is right");
    // A blocking read takes longer than the client's default timeout.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    connected.await.expect("the server was started")
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

/// XADD in pipelines of 100, XREADGROUP and XACK of up to 100. To recognise duplicates, entries have an id, and each batch is
/// handled after a pipeline that sets the key of each id which does not exist yet.
pub async fn commands(url: &str, count: usize, recognises: bool) -> Duration {
    let mut producer = connect(url).await;
    let () = command(&["DEL", STREAM])
        .query_async(&mut producer)
        .await
        .expect("DEL");
    let create = command(&["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"]);
    let () = create.query_async(&mut producer).await.expect("XGROUP");

    let (mut reader, mut settler) = (connect(url).await, connect(url).await);
    let started = Instant::now();
    let consuming = tokio::spawn(async move {
        let mut handled = 0;
        while handled < count {
            let read = command(&[
                "XREADGROUP",
                "GROUP",
                GROUP,
                "one",
                "COUNT",
                "100",
                "BLOCK",
                "2000",
                "STREAMS",
                STREAM,
                ">",
            ]);
            let reply: Option<StreamReadReply> =
                read.query_async(&mut reader).await.expect("XREADGROUP");
            let keys = reply.into_iter().flat_map(|reply| reply.keys);
            let entries: Vec<_> = keys.flat_map(|key| key.ids).collect();
            if entries.is_empty() {
                continue;
            }
            if recognises {
                assert_eq!(new(&mut settler, &entries).await, entries.len());
            }
            let mut acknowledge = command(&["XACK", STREAM, GROUP]);
            for entry in &entries {
                std::hint::black_box(entry.map.get("body"));
                acknowledge.arg(&entry.id);
            }
            let () = acknowledge.query_async(&mut settler).await.expect("XACK");
            handled += entries.len();
        }
    });
    let body = Put::bytes();
    for _ in 0..count / 100 {
        let mut batch = pipe();
        for _ in 0..100 {
            let add = batch.cmd("XADD").arg(STREAM).arg("*").arg("body");
            add.arg(&body).ignore();
            if recognises {
                add.arg("id").arg(Uuid::now_v7().as_bytes());
            }
        }
        let () = batch.query_async(&mut producer).await.expect("XADD");
    }
    consuming.await.expect("it does not panic");
    started.elapsed()
}

/// The number of entries whose id is new.
async fn new(connection: &mut MultiplexedConnection, entries: &[StreamId]) -> usize {
    let mut remember = pipe();
    for entry in entries {
        let id: Vec<u8> = entry.get("id").expect("it was sent with an id");
        let key = [b"bare:id:", &*id].concat();
        let set = remember.cmd("SET").arg(key).arg("").arg("NX");
        set.arg("EX").arg(WINDOW.as_secs());
    }
    let set: Vec<bool> = remember.query_async(connection).await.expect("SET");
    set.into_iter().filter(|is_new| *is_new).count()
}

/// XADD, one by one, over one connection.
pub async fn send_each(url: &str, count: usize, together: usize) -> Duration {
    let connection = connect(url).await;
    let started = Instant::now();
    let senders = (0..together).map(|_| {
        let mut connection = connection.clone();
        tokio::spawn(async move {
            let body = Put::bytes();
            for _ in 0..count / together {
                let mut add = command(&["XADD", "bare:sent", "*", "body"]);
                let _: String = add
                    .arg(&body)
                    .query_async(&mut connection)
                    .await
                    .expect("XADD");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it does not panic");
    }
    let took = started.elapsed();
    let () = command(&["DEL", "bare:sent"])
        .query_async(&mut connection.clone())
        .await
        .expect("DEL");
    took
}

/// RPUSH and BLPOP in both directions, one after the other.
pub async fn round_trips(url: &str, count: usize) -> Vec<Duration> {
    let mut client = connect(url).await;
    let mut inbox = connect(url).await;
    let (mut server, mut server_inbox) = (connect(url).await, connect(url).await);
    let serving = tokio::spawn(async move {
        for _ in 0..count {
            let pop = command(&["BLPOP", "bare:queries", "10"]);
            let (_, body): (String, Vec<u8>) =
                pop.query_async(&mut server_inbox).await.expect("BLPOP");
            let mut push = command(&["RPUSH", "bare:answers"]);
            let _: usize = push
                .arg(body)
                .query_async(&mut server)
                .await
                .expect("RPUSH");
        }
    });
    let body = Put::bytes();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        let mut push = command(&["RPUSH", "bare:queries"]);
        let _: usize = push
            .arg(&body)
            .query_async(&mut client)
            .await
            .expect("RPUSH");
        let pop = command(&["BLPOP", "bare:answers", "10"]);
        let (_, _): (String, Vec<u8>) = pop.query_async(&mut inbox).await.expect("BLPOP");
        times.push(started.elapsed());
    }
    serving.await.expect("it does not panic");
    times
}

/// The same with this number of concurrent queries: pushed in pipelines, popped in batches.
pub async fn queries(url: &str, count: usize, together: usize) -> Duration {
    let mut client = connect(url).await;
    let mut inbox = connect(url).await;
    let (mut server, mut server_inbox) = (connect(url).await, connect(url).await);
    let count = count / together * together;
    let pop = move |key: &str| {
        command(&[
            "BLMPOP",
            "10",
            "1",
            key,
            "LEFT",
            "COUNT",
            &together.to_string(),
        ])
    };
    let serving = tokio::spawn(async move {
        let mut served = 0;
        while served < count {
            let queries = pop("bare:queries");
            let (_, bodies): (String, Vec<Vec<u8>>) = queries
                .query_async(&mut server_inbox)
                .await
                .expect("BLMPOP");
            let mut answers = pipe();
            for body in &bodies {
                answers.cmd("RPUSH").arg("bare:answers").arg(body).ignore();
            }
            let () = answers.query_async(&mut server).await.expect("RPUSH");
            served += bodies.len();
        }
    });
    let body = Put::bytes();
    let started = Instant::now();
    let (mut free, mut sent, mut answered) = (together, 0, 0);
    while answered < count {
        let next = free.min(count - sent);
        if next > 0 {
            let mut queries = pipe();
            for _ in 0..next {
                queries.cmd("RPUSH").arg("bare:queries").arg(&body).ignore();
            }
            let () = queries.query_async(&mut client).await.expect("RPUSH");
            sent += next;
        }
        let answers = pop("bare:answers");
        let (_, bodies): (String, Vec<Vec<u8>>) =
            answers.query_async(&mut inbox).await.expect("BLMPOP");
        free = bodies.len();
        answered += free;
    }
    serving.await.expect("it does not panic");
    started.elapsed()
}
