//! Several processes on one file.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Subscription},
};
use static_bus_sql::SqliteTransport;
use test_brokers::doomed::{self, Doomed};

use super::place::Place;
use super::support::{LONG, acknowledge, append, bodies, command, join, record};

/// The process of [`a_record_of_another_process_wakes_a_member_that_waits`].
#[tokio::test]
async fn the_process_that_appends() {
    let Some(url) = doomed::told() else { return };
    let transport = connect(&url).await;
    append(&transport, &command("orders.place"), [record("from afar")])
        .await
        .unwrap();
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_record_of_another_process_wakes_a_member_that_waits() {
    let place = Place::new();
    let transport = place.connect().await;
    let member = join(&transport, &command("orders.place"), "member").await;
    let doomed = Doomed::start("sqlite::processes::the_process_that_appends", &place.url());
    let (got, ()) = tokio::join!(member.receive(10, LONG), doomed.kill_while_handling());
    assert_eq!(bodies(&got.unwrap()), ["from afar"]);
}

/// The process of [`the_records_of_a_killed_process_go_to_others_when_its_leases_run_out`].
#[tokio::test]
async fn the_process_that_takes_all() {
    let Some(url) = doomed::told() else { return };
    let transport = connect(&url).await;
    let subscription = Subscription::new(command("orders.place"), "handlers", "doomed");
    let member = transport
        .consume(subscription.with_lease(Duration::from_secs(3)))
        .await
        .unwrap();
    let got = member.receive(10, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["1", "2"]);
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_records_of_a_killed_process_go_to_others_when_its_leases_run_out() {
    let place = Place::new();
    let transport = place.connect().await;
    let topic = command("orders.place");
    append(&transport, &topic, [1, 2].map(record))
        .await
        .unwrap();
    let doomed = Doomed::start(
        "sqlite::processes::the_process_that_takes_all",
        &place.url(),
    );
    doomed.kill_while_handling().await;
    let member = join(&transport, &topic, "member").await;
    let got = member.receive(10, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["1", "2"]);
    assert_eq!(
        got[0].attempt, 2,
        "the first attempt was that of the killed process"
    );
}

const RECORDS: usize = 2_000;

/// A process of [`three_processes_share_the_records_of_two_others`].
#[tokio::test]
async fn the_process_that_consumes() {
    let Some(url) = doomed::told() else { return };
    let transport = connect(&url).await;
    let member = join(
        &transport,
        &command("orders.place"),
        &std::process::id().to_string(),
    )
    .await;
    println!("{}", doomed::HANDLING);
    loop {
        let got = member
            .receive(20, Duration::from_millis(200))
            .await
            .unwrap();
        acknowledge(&member, &got).await.unwrap();
        for body in bodies(&got) {
            println!("got {body}");
        }
    }
}

/// A process of [`three_processes_share_the_records_of_two_others`].
#[tokio::test]
async fn the_process_that_produces() {
    let Some(url) = doomed::told() else { return };
    let (first, url) = url.split_once(' ').unwrap();
    let first: usize = first.parse().unwrap();
    let transport = connect(url).await;
    for n in (first..first + RECORDS / 2).step_by(10) {
        append(
            &transport,
            &command("orders.place"),
            (n..n + 10).map(record),
        )
        .await
        .unwrap();
    }
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn three_processes_share_the_records_of_two_others() {
    let place = Place::new();
    let transport = place.connect().await;
    let topic = command("orders.place");
    let observer = join(&transport, &topic, "observer").await;
    let consuming = [(); 3]
        .map(|()| Doomed::start("sqlite::processes::the_process_that_consumes", &place.url()));
    let producing = [0, RECORDS / 2].map(|first| {
        let told = format!("{first} {}", place.url());
        Doomed::start("sqlite::processes::the_process_that_produces", &told)
    });
    let [one, two] = producing;
    tokio::join!(one.kill_while_handling(), two.kill_while_handling());
    let start = Instant::now();
    loop {
        let backlog = observer.backlog().await.unwrap();
        if backlog.pending + backlog.lag == 0 {
            break;
        }
        assert!(start.elapsed() < LONG, "{backlog:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Time to print what was acknowledged.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut came = Vec::new();
    for consumer in consuming {
        let lines = consumer
            .kill_when(|line| line.contains(doomed::HANDLING))
            .await;
        let numbers = lines.iter().filter_map(|line| line.split_once("got "));
        came.extend(numbers.map(|(_, n)| n.parse::<usize>().unwrap()));
    }
    let each: BTreeSet<_> = came.iter().copied().collect();
    assert!(each.iter().copied().eq(0..RECORDS), "{} came", each.len());
    assert_eq!(came.len(), RECORDS, "each once");
}

async fn connect(url: &str) -> SqliteTransport {
    let builder = SqliteTransport::builder(url);
    builder.deadline(LONG).connect().await.unwrap()
}
