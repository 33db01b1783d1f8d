//! Messages that are due later, in transactions and in number.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use static_bus::prelude::*;
use static_bus_remote::{
    Later, RemoteBus, SendLater, Transport, TransportErrorKind, Worker,
    transport::{Consumer as _, Due, Inspect, Record, Topic, Transactional as _},
};
use static_bus_sql::{SqlTransport, transaction};

use super::{
    Database, begin, fresh,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record},
    table,
};

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Expire {
    order: u32,
}
command!(Expire, name = "orders.expire", key = order);

#[derive(Serialize, Deserialize)]
struct Pay {
    order: u32,
}
command!(Pay, name = "orders.pay", key = order);

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn in_an_hour(order: u32) -> Due {
    Due::after(HOUR).with_key(order.to_string())
}

fn due(record: Record, due: impl Into<Due>) -> Record {
    Record {
        due: Some(due.into()),
        ..record
    }
}

/// The number of records of a topic that are due later.
async fn scheduled(transport: &SqlTransport<Database>, topic: &Topic) -> u64 {
    let states = transport.inspect(std::slice::from_ref(topic)).await;
    let states = states.unwrap();
    states.first().map_or(0, |state| state.scheduled)
}

/// A module that does not know whether its bus is that of a transaction.
async fn set_timeout(order: u32, bus: &impl AsyncExecuteCommand<Later<Expire>>) {
    bus.execute_at(Expire { order }, in_an_hour(order))
        .await
        .unwrap();
}

async fn clear_timeout(order: u32, bus: &impl AsyncExecuteCommand<Later<Expire>>) {
    bus.cancel_command::<Expire>(order.to_string())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_sends_later_or_cancels_is_so_if_and_only_if_it_commits() {
    let (at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let topic = command("orders.expire");
    for order in 0..4 {
        let mut transaction = begin(&at).await;
        set_timeout(order, &remote.within(&mut transaction)).await;
        match order % 2 {
            0 => transaction.commit().await.unwrap(),
            _ => transaction.rollback().await.unwrap(),
        }
    }
    assert_eq!(scheduled(&transport, &topic).await, 2, "0 and 2");

    let mut transaction = begin(&at).await;
    clear_timeout(0, &remote.within(&mut transaction)).await;
    transaction.rollback().await.unwrap();
    assert_eq!(scheduled(&transport, &topic).await, 2, "it was rolled back");

    let mut transaction = begin(&at).await;
    let cancelled = transport.cancel_within(&mut transaction, &topic, "0").await;
    assert!(cancelled.unwrap());
    clear_timeout(1, &remote.within(&mut transaction)).await;
    transaction.commit().await.unwrap();
    assert_eq!(scheduled(&transport, &topic).await, 1, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_sends_later_or_cancels_is_in_its_transaction() {
    let (_at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let later = &remote.scheduler().unwrap();
    let topic = command("orders.expire");
    set_timeout(1, later).await;
    let handle = async |result: Result<(), ()>| {
        let handler = async {
            drop(transaction::<Database>().await.unwrap());
            clear_timeout(1, later).await;
            for order in [2, 3, 4] {
                set_timeout(order, later).await;
            }
            // The last one counts.
            clear_timeout(3, later).await;
            clear_timeout(4, later).await;
            set_timeout(4, later).await;
            result
        };
        transport.transact(handler).await.unwrap()
    };
    handle(Err(())).await.unwrap_err();
    assert_eq!(scheduled(&transport, &topic).await, 1, "1");
    handle(Ok(())).await.unwrap();
    assert_eq!(scheduled(&transport, &topic).await, 2, "2 and 4");
    for (key, is_there) in [("1", false), ("2", true), ("3", false), ("4", true)] {
        let cancelled = transport.cancel(&topic, key).await.unwrap();
        assert_eq!(cancelled, is_there, "order {key}");
    }
}

/// The handler of a worker sets its own timeout and clears that of another order, in its transaction.
struct Payments<S>(S);

impl<S, B> AsyncCommandHandler<Pay, B> for Payments<S>
where
    S: AsyncExecuteCommand<Later<Expire>> + Sync,
    B: Sync,
{
    async fn handle(
        &self,
        Pay { order }: Pay,
        _: &B,
    ) -> Result<(), static_bus::asynchronous::BusError> {
        let open = transaction::<Database>().await;
        drop(open.map_err(static_bus::asynchronous::BusError::rejected::<Pay>)?);
        let soon = Due::after(SECOND).with_key(order.to_string());
        self.0.execute_at(Expire { order }, soon).await?;
        self.0
            .cancel_command::<Expire>((order - 1).to_string())
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sends_later_and_cancels_in_the_transactions_of_its_handlers() {
    let (_at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let later = remote.scheduler().unwrap();
    set_timeout(6, &later).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let expired = log.clone();
    let bus = BusBuilder::new()
        .register_command_async::<Pay, _>(Payments(later))
        .register_command_fn(move |Expire { order }: Expire| expired.lock().unwrap().push(order))
        .build();
    let worker = Worker::new(transport.clone(), bus);
    let worker = worker.command::<Pay>().command::<Expire>();
    let worker = worker.start().await.unwrap();
    let start = Instant::now();
    remote.execute_async(Pay { order: 7 }).await.unwrap();
    while log.lock().unwrap().is_empty() {
        assert!(start.elapsed() < LONG, "nothing has expired");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() >= SECOND, "{:?}", start.elapsed());
    assert_eq!(*log.lock().unwrap(), [7]);
    let topic = command("orders.expire");
    assert_eq!(scheduled(&transport, &topic).await, 0, "6 is cancelled");
    worker.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_due_is_neither_cancelled_nor_replaced_while_nobody_takes_it() {
    let (_at, transport) = fresh().await;
    let topic = command("orders.place");
    let key = |delay| Due::after(delay).with_key("key");
    append(
        &transport,
        &topic,
        [due(record("over"), key(Duration::ZERO))],
    )
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!transport.cancel(&topic, "key").await.unwrap(), "it is due");
    append(&transport, &topic, [due(record("later"), key(HOUR))])
        .await
        .unwrap();
    let member = join(&transport, &topic, "member").await;
    assert_eq!(bodies(&member.receive(10, LONG).await.unwrap()), ["over"]);
    assert!(transport.cancel(&topic, "key").await.unwrap(), "the other");
}

#[tokio::test]
async fn a_cancellation_key_that_is_too_long_is_refused_by_its_length() {
    let (_at, transport) = fresh().await;
    let topic = command("orders.place");
    let with_key = |length| {
        due(
            record(length),
            Due::after(HOUR).with_key("x".repeat(length)),
        )
    };
    let both = [with_key(2000), with_key(2001)].map(|record| (topic.clone(), record));
    let results = transport.append(both.into()).await;
    results[0].as_ref().unwrap();
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge);
    assert_eq!(
        error.reason(),
        "the cancellation key of a record of command orders.place has 2001 bytes, and the limit is 2000: shorten it"
    );
    let key = "x".repeat(2000);
    assert!(transport.cancel(&topic, &key).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_key_that_are_due_at_once_keep_their_order_though_several_processes_move_them()
{
    let (_at, transport) = fresh().await;
    let others = [super::again(&_at).await, super::again(&_at).await];
    let topic = command("orders.place");
    // A consumer of each has the topic, and one takes.
    let mut idle = Vec::new();
    for other in &others {
        idle.push(join(other, &topic, "idle").await);
    }
    let time = SystemTime::now() + SECOND;
    for from in (0..3000).step_by(1000) {
        let some = (from..from + 1000).map(|n| due(keyed("key", n), time));
        append(&transport, &topic, some).await.unwrap();
    }
    let member = join(&transport, &topic, "member").await;
    let mut came = Vec::new();
    while came.len() < 3000 {
        let got = member.receive(500, LONG).await.unwrap();
        assert!(!got.is_empty(), "{} came", came.len());
        acknowledge(&member, &got).await.unwrap();
        came.extend(bodies(&got));
    }
    assert!(came.iter().map(|n| n.parse::<usize>().unwrap()).eq(0..3000));
}

/// The shortest of ten times that it takes to take and to acknowledge a hundred records.
async fn taking(transport: &SqlTransport<Database>, topic: &Topic) -> Duration {
    let member = join(transport, topic, "member").await;
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        append(transport, topic, (0..100).map(record))
            .await
            .unwrap();
        let start = Instant::now();
        let mut got = 0;
        while got < 100 {
            let some = member.receive(100, LONG).await.unwrap();
            acknowledge(&member, &some).await.unwrap();
            got += some.len();
        }
        shortest = shortest.min(start.elapsed());
    }
    member.close().await.unwrap();
    shortest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_records_that_are_due_later_do_not_slow_down_those_that_are_due() {
    let (at, transport) = fresh().await;
    let topic = command("orders.place");
    let before = taking(&transport, &topic).await;
    append(&transport, &topic, [due(record("far"), HOUR * 3)])
        .await
        .unwrap();
    let table = table(&at, "scheduled");
    let million = format!(
        "insert into {table} (topic_id, due_at, headers, body) select topic_id, due_at + n, headers, body from {table}, \
         (with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 1000000) select n from numbers) as added"
    );
    let mut transaction = begin(&at).await;
    let insert = sqlx::raw_sql(AssertSqlSafe(million));
    insert.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();

    let after = taking(&transport, &topic).await;
    // A search of all that wait would take much longer.
    assert!(after < 8 * before, "{after:?}, and {before:?} before");

    let member = join(&transport, &topic, "member").await;
    let begun = Instant::now();
    append(&transport, &topic, [due(record("soon"), SECOND)])
        .await
        .unwrap();
    assert_eq!(bodies(&member.receive(10, LONG).await.unwrap()), ["soon"]);
    let elapsed = begun.elapsed();
    assert!(elapsed >= SECOND, "{elapsed:?}");
    println!(
        "taking: {before:?} before, {after:?} after; a record is late by {:?}",
        elapsed - SECOND
    );
}
