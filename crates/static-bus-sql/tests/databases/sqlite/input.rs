//! Wrong input, and files that cannot be used: errors that name the thing and the remedy.

use std::{
    fs,
    time::{Duration, Instant},
};

use static_bus::prelude::*;
use static_bus_remote::{Transport, TransportErrorKind, Worker, transport::Consumer};
use static_bus_sql::SqliteTransport;
use test_brokers::doomed::{self, Doomed};

use super::place::Place;
use super::support::{LONG, append, bodies, command, join, record};

async fn refusal(url: &str) -> (TransportErrorKind, String) {
    let error = SqliteTransport::connect(url).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_url_without_the_scheme_is_refused() {
    let (kind, text) = refusal("/var/lib/shop/bus.db").await;
    assert_eq!(kind, TransportErrorKind::Refused);
    let expected = "/var/lib/shop/bus.db: the URL is sqlite: and the path of a file, such as sqlite:/var/lib/shop/bus.db";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for url in [
        "sqlite::memory:",
        "sqlite:",
        "sqlite://:memory:",
        "sqlite:bus.db?mode=memory",
    ] {
        let (kind, text) = refusal(url).await;
        assert_eq!(kind, TransportErrorKind::Refused);
        let address = url.split('?').next().unwrap();
        let expected = format!(
            "{address}: a database in memory has one connection: name a file, or use MemoryBroker"
        );
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn a_url_with_a_parameter_that_cannot_be_read_is_refused() {
    for parameter in ["mode=perhaps", "cache=perhaps", "unknown=1"] {
        let (kind, text) = refusal(&format!("sqlite:bus.db?{parameter}")).await;
        assert_eq!(kind, TransportErrorKind::Refused, "{parameter}: {text}");
        assert!(text.ends_with(": correct the URL"), "{parameter}: {text}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_no_name_of_tables_is_refused() {
    let place = Place::new();
    for namespace in [
        "",
        "Shop",
        "1st",
        "a;drop table b",
        "shop_scheduled",
        &"x".repeat(41),
    ] {
        let builder = SqliteTransport::builder(place.url()).namespace(namespace);
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        let expected = format!(
            "sqlite: the namespace {namespace:?} is not the name of tables: use up to 40 lower-case letters, digits and \
             underscores, no digit first, and not `_scheduled` at the end"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_missing_directory_is_named_with_the_remedy() {
    let place = Place::new();
    let url = format!("sqlite:{}/missing/bus.db", place.0.path().display());
    let (kind, text) = refusal(&url).await;
    assert_eq!(kind, TransportErrorKind::Unauthorized);
    let expected = format!(
        "{url}: unable to open database file: create the directory of the file, and give the user of this process the \
         permission to read and write it"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_read_only_file_is_named_with_the_remedy() {
    let place = Place::new();
    drop(place.connect().await);
    let (kind, text) = refusal(&format!("{}?mode=ro", place.url())).await;
    assert_eq!(kind, TransportErrorKind::Unauthorized);
    let expected = format!(
        "{}: attempt to write a readonly database: give the user of this process the permission to write the file and its \
         directory",
        place.url()
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::new();
    fs::write(place.path(), "not a database ".repeat(100)).unwrap();
    let (kind, text) = refusal(&place.url()).await;
    assert_eq!(kind, TransportErrorKind::Refused);
    let expected = format!(
        "{}: file is not a database: the file is damaged, or no database of SQLite: name another one, or restore a backup",
        place.url()
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_transaction_that_is_left_open_is_an_error_in_time_and_loses_nothing() {
    let place = Place::new();
    let builder = SqliteTransport::builder(place.url()).deadline(Duration::from_secs(5));
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    append(&transport, &topic, [record("confirmed")])
        .await
        .unwrap();

    let open = place
        .pool()
        .await
        .begin_with("begin immediate")
        .await
        .unwrap();
    let error = append(&transport, &topic, [record("refused")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let holder = match cfg!(target_os = "linux") {
        true => "; a transaction of this process holds the lock of the file",
        false => "",
    };
    let expected = format!(
        "{}: database is locked: another connection holds the lock of the file for too long: end its transaction, or raise the \
         deadline{holder}",
        place.url()
    );
    let late = format!(
        "{}: no answer within 5s: check that the database runs and is not overloaded, or raise the deadline{holder}",
        place.url()
    );
    assert!([expected, late].contains(&error.to_string()), "{error}");

    open.rollback().await.unwrap();
    append(&transport, &topic, [record("later")]).await.unwrap();
    let member = join(&transport, &topic, "member").await;
    let got = member.receive(10, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["confirmed", "later"]);
}

/// SQLite itself does not wait for a lock when it turns a file to the write-ahead log.
#[tokio::test]
async fn a_new_file_that_another_process_writes_to_is_waited_for() {
    let place = Place::new();
    let made = format!("{}?mode=rwc", place.url());
    let other = sqlx::SqlitePool::connect(&made).await.unwrap();
    let open = other.begin_with("begin immediate").await.unwrap();
    let builder = SqliteTransport::builder(place.url()).deadline(LONG);
    let mut connecting = tokio::spawn(builder.connect());
    let early = tokio::time::timeout(Duration::from_millis(500), &mut connecting).await;
    assert!(early.is_err(), "{early:?}");
    open.commit().await.unwrap();
    connecting.await.unwrap().unwrap();
}

/// The process of [`another_process_with_an_open_transaction_is_named_in_the_health`].
#[tokio::test]
async fn the_process_that_leaves_a_transaction_open() {
    let Some(url) = doomed::told() else { return };
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let _open = pool.begin_with("begin immediate").await.unwrap();
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_process_with_an_open_transaction_is_named_in_the_health() {
    let place = Place::new();
    let builder = SqliteTransport::builder(place.url()).deadline(Duration::from_secs(5));
    let transport = builder.connect().await.unwrap();
    let worker = Worker::new(transport, BusBuilder::new().build());
    let worker = worker.start().await.unwrap();
    let process = Doomed::start(
        "sqlite::input::the_process_that_leaves_a_transaction_open",
        &place.url(),
    );
    let start = Instant::now();
    let reason = loop {
        assert!(start.elapsed() < LONG, "its transaction is open");
        let health = worker.health().await;
        if let Some(reason) = health.reasons.first() {
            assert!(health.live && !health.ready);
            break reason.clone();
        }
    };
    let (_, holder) = reason
        .split_once("or raise the deadline; process ")
        .expect(&reason);
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let name = format!(" ({}", name.trim_end());
    let (id, rest) = holder.split_once(&name).expect(&reason);
    assert!(id.bytes().all(|byte| byte.is_ascii_digit()), "{reason}");
    assert_eq!(rest, ") holds the lock of the file", "{reason}");
    drop(process);
    while !worker.health().await.ready {
        assert!(start.elapsed() < LONG, "its transaction has ended");
    }
    worker.shutdown(LONG).await;
}

/// The process of [`on_a_full_disk_senders_get_errors_and_nothing_confirmed_is_lost`]: its files cannot grow.
#[tokio::test]
async fn the_process_whose_disk_is_full() {
    let Some(url) = doomed::told() else { return };
    let transport = SqliteTransport::connect(&url).await.unwrap();
    let topic = command("orders.place");
    for n in 0.. {
        let large = record(format!("{n} {}", "x".repeat(10_000)));
        match append(&transport, &topic, [large]).await {
            Ok(()) => println!("confirmed {n}"),
            Err(error) => {
                println!("refused: {:?}: {error}", error.kind());
                break;
            }
        }
    }
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn on_a_full_disk_senders_get_errors_and_nothing_confirmed_is_lost() {
    let place = Place::new();
    drop(place.connect().await);
    let test = "sqlite::input::the_process_whose_disk_is_full";
    let doomed = Doomed::with_small_files(test, &place.url(), 4_000);
    let lines = doomed
        .kill_when(|line| line.contains(doomed::HANDLING))
        .await;
    let refused = lines.iter().find_map(|line| line.split_once("refused: "));
    let (_, refused) = refused.expect("the files cannot grow");
    let full = format!(
        "Unreachable: {}: database or disk is full: the disk is full, or `max_page_count` is reached: make room",
        place.url()
    );
    let error = format!(
        "Unreachable: {}: disk I/O error: check the disk and the file system of the file",
        place.url()
    );
    assert!([full, error].contains(&refused.to_owned()), "{refused}");

    let confirmed = lines
        .iter()
        .filter_map(|line| line.split_once("confirmed "));
    let confirmed: Vec<_> = confirmed.map(|(_, n)| n.to_owned()).collect();
    assert!(!confirmed.is_empty(), "{lines:?}");
    let transport = place.connect().await;
    let member = join(&transport, &command("orders.place"), "member").await;
    let mut came = Vec::new();
    while came.len() < confirmed.len() {
        let got = member.receive(1000, LONG).await.unwrap();
        assert!(!got.is_empty(), "{} of {}", came.len(), confirmed.len());
        came.extend(
            bodies(&got)
                .iter()
                .map(|body| body.split(' ').next().unwrap().to_owned()),
        );
    }
    // The refused record may have been stored.
    came.truncate(confirmed.len());
    assert_eq!(came, confirmed);
    transport.check().await.unwrap();
}

#[tokio::test]
async fn the_longest_deadline_is_accepted() {
    let place = Place::new();
    let builder = SqliteTransport::builder(place.url()).deadline(Duration::MAX);
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, [record(1)]).await.unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["1"]);
}
