//! A server that is away.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use static_bus_remote::{TransportErrorKind, transport::Consumer as _};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;

use super::support::{LONG, acknowledge, append, bodies, command, join, record};

const AWAY: Duration = Duration::from_secs(30);

/// The deadline of each call.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest time for a call, on a busy machine.
const IN_TIME: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_for_thirty_seconds_loses_nothing_confirmed() {
    let mut postgres = Postgres::start();
    let builder = PostgresTransport::builder(postgres.url()).deadline(DEADLINE);
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, (0..10).map(record))
        .await
        .unwrap();
    let held = member.receive(5, LONG).await.unwrap();

    postgres.kill();
    let away = Instant::now();
    let (mut confirmed, mut next) = ((0..10).collect::<BTreeSet<_>>(), 10);
    while away.elapsed() < AWAY {
        let start = Instant::now();
        let error = append(&transport, &topic, [record(next)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
        let error = member.receive(1, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        let error = acknowledge(&member, &held).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        next += 1;
    }
    postgres.launch();

    // The first call on each connection that was lost may fail.
    let start = Instant::now();
    while let Err(error) = append(&transport, &topic, [record(next)]).await {
        assert!(start.elapsed() < LONG, "{error}");
    }
    confirmed.insert(next);
    while let Err(error) = acknowledge(&member, &held).await {
        assert!(start.elapsed() < LONG, "{error}");
    }
    let mut came: BTreeSet<_> = numbers(&bodies(&held));
    while !confirmed.is_subset(&came) {
        assert!(start.elapsed() < LONG, "{came:?} of {confirmed:?}");
        if let Ok(got) = member.receive(10, Duration::from_secs(1)).await {
            came.extend(numbers(&bodies(&got)));
        }
    }
}

fn numbers(bodies: &[String]) -> BTreeSet<usize> {
    bodies.iter().map(|body| body.parse().unwrap()).collect()
}
