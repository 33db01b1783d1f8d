//! Messages that are due later, in paused time.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::BusError,
    layer::{AsyncAroundCommand, Layer, NextCommand},
    prelude::*,
    wiring::Registration,
};
use static_bus_remote::{
    DeadLetters, Due, Later, MemoryBroker, RemoteBus, SendLater, Transport, TransportErrorKind,
    Worker, WorkerHandle, current,
    testing::{SimBroker, sim},
    transport::{Inspect, Kind, Topic},
};
use tokio::time::sleep;

use crate::support::{LONG, SECOND, TestBroker, connect, quick};

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Expire {
    order: u32,
}
command!(Expire -> Result<(), &'static str>, name = "orders.expire", key = order);
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Reminded {
    order: u32,
}
event!(Reminded, name = "orders.reminded");

const HOUR: Duration = Duration::from_secs(3600);

type Log = Arc<Mutex<Vec<String>>>;

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// A worker that notes each `Expire` and `Reminded`.
async fn noting<T: Transport>(broker: T) -> (WorkerHandle<T>, Log) {
    let log = Log::default();
    let (expired, reminded) = (log.clone(), log.clone());
    let bus = BusBuilder::new()
        .register_command_fn(move |expire: Expire| {
            expired.lock().unwrap().push(format!("{expire:?}"));
            Ok(())
        })
        .subscribe_fn(move |reminded_of: &Reminded| {
            reminded.lock().unwrap().push(format!("{reminded_of:?}"));
        })
        .build();
    let worker = Worker::new(broker, bus).command::<Expire>();
    let worker = worker.event::<Reminded>("mail").start().await.unwrap();
    (worker, log)
}

#[tokio::test(start_paused = true)]
async fn a_command_and_an_event_are_handled_when_they_are_due() {
    let broker = MemoryBroker::new();
    let (worker, log) = noting(broker.clone()).await;
    let later = connect(&broker).await.scheduler().unwrap();
    later.execute_at(Expire { order: 1 }, HOUR).await.unwrap();
    let time = SystemTime::now() + HOUR * 2;
    later.publish_at(Reminded { order: 2 }, time).await.unwrap();

    sleep(HOUR - SECOND).await;
    assert_eq!(taken(&log), Vec::<String>::new());
    sleep(SECOND * 2).await;
    assert_eq!(taken(&log), ["Expire { order: 1 }"]);
    sleep(HOUR - SECOND * 3).await;
    assert_eq!(taken(&log), Vec::<String>::new());
    sleep(SECOND * 4).await;
    assert_eq!(taken(&log), ["Reminded { order: 2 }"]);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_cancelled_or_replaced_is_not_handled() {
    let broker = MemoryBroker::new();
    let (worker, log) = noting(broker.clone()).await;
    let later = connect(&broker).await.scheduler().unwrap();
    let due = |key: &str| Due::after(HOUR).with_key(key);
    for order in 1..=2 {
        let remind = later.publish_at(Reminded { order }, due("a"));
        remind.await.unwrap();
        let expire = later.execute_at(Expire { order }, due(&order.to_string()));
        expire.await.unwrap();
    }
    later.cancel_command::<Expire>("1").await.unwrap();
    later.cancel_event::<Reminded>("another").await.unwrap();
    sleep(HOUR + SECOND).await;
    let mut handled = taken(&log);
    handled.sort();
    assert_eq!(handled, ["Expire { order: 2 }", "Reminded { order: 2 }"]);

    let again = later.publish_at(Reminded { order: 3 }, due("a"));
    again.await.unwrap();
    later.cancel_event::<Reminded>("a").await.unwrap();
    sleep(HOUR + SECOND).await;
    assert_eq!(taken(&log), Vec::<String>::new());
    worker.shutdown(LONG).await;
}

/// Schedules itself, as a module does.
struct Reminder;
impl<B: AsyncExecuteCommand<Later<Expire>>> AsyncEventHandler<Reminded, B> for Reminder {
    async fn handle(&self, event: &Reminded, bus: &B) -> Result<(), BusError> {
        let order = event.order;
        bus.execute_at(Expire { order }, HOUR).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_has_the_cause_the_trace_and_the_headers_of_its_sender() {
    let broker = MemoryBroker::new();
    let remote = connect(&broker).await;
    let seen = Arc::new(Mutex::new(None));
    let note = seen.clone();
    let bus = BusBuilder::new()
        .register_command_async::<Later<Expire>, _>(remote.scheduler().unwrap())
        .register_command_fn(move |_: Expire| {
            *note.lock().unwrap() = current();
            Ok(())
        })
        .subscribe_async::<Reminded, _>(Reminder)
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Expire>();
    let worker = worker.event::<Reminded>("process").inherit_header("tenant");
    let worker = worker.start().await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sender = remote.with_header("tenant", "acme").unwrap();
    let sender = sender.with_trace(trace, None);
    sender.publish_async(&Reminded { order: 7 }).await.unwrap();
    sleep(HOUR + SECOND).await;
    let envelope = seen.lock().unwrap().clone().unwrap();
    assert_eq!(envelope.message_type, "orders.expire");
    assert_eq!(envelope.partition_key.as_deref(), Some("7"));
    assert_eq!(envelope.header("tenant"), Some("acme"));
    assert_eq!(envelope.trace_parent.as_deref(), Some(trace));
    assert!(envelope.causation_id.is_some());
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_a_scheduled_message_is_replayed_at_once() {
    let broker = MemoryBroker::new();
    let attempts = Arc::new(Mutex::new(0));
    let count = attempts.clone();
    let bus = BusBuilder::new()
        .register_command_fn(move |_: Expire| {
            *count.lock().unwrap() += 1;
            Err("no such order")
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Expire>();
    let worker = worker.retries(quick(2)).start().await.unwrap();
    let later = connect(&broker).await.scheduler().unwrap();
    later.execute_at(Expire { order: 1 }, HOUR).await.unwrap();
    sleep(HOUR).await;
    broker.until_quiet(LONG).await.unwrap();
    assert_eq!(*attempts.lock().unwrap(), 2);

    let dead = DeadLetters::of(broker.clone());
    let letters = dead.list(None, 10).await.unwrap();
    assert_eq!(letters[0].record.due, None);
    dead.replay(&letters[0]).await.unwrap();
    broker.until_quiet(LONG).await.unwrap();
    assert_eq!(*attempts.lock().unwrap(), 4);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_due_is_not_in_flight() {
    let broker = MemoryBroker::new();
    let later = connect(&broker).await.scheduler().unwrap();
    later.execute_at(Expire { order: 1 }, HOUR).await.unwrap();
    broker.until_quiet(Duration::ZERO).await.unwrap();
    let topic = Topic {
        kind: Kind::Command,
        name: "orders.expire".into(),
    };
    let scheduled = broker.inspect(&[topic]).await.unwrap().remove(0);
    assert_eq!((scheduled.scheduled, scheduled.stored), (1, 0));
    assert_eq!(scheduled.next_due, Some(HOUR));
    sleep(HOUR).await;
    let error = broker.until_quiet(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.in_flight()[0].count, 1);
}

#[tokio::test(start_paused = true)]
async fn two_messages_with_one_idempotency_key_are_handled_once_when_they_are_due() {
    let broker = MemoryBroker::new();
    let (worker, log) = noting(broker.clone()).await;
    let once = connect(&broker).await.with_idempotency_key("order 1");
    let later = once.scheduler().unwrap();
    for delay in [HOUR, HOUR + SECOND] {
        later.execute_at(Expire { order: 1 }, delay).await.unwrap();
    }
    sleep(HOUR * 2).await;
    assert_eq!(taken(&log), ["Expire { order: 1 }"]);
    worker.shutdown(LONG).await;
}

#[tokio::test]
async fn a_broker_that_keeps_no_messages_until_they_are_due_refuses_at_start() {
    let remote = RemoteBus::connect(TestBroker::new()).await.unwrap();
    let error = remote.scheduler().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "test://broker: this broker does not keep messages until they are due: schedule them through an outbox in a database \
         (`SqlTransport::outbox` of static-bus-sql), whose relay sends them when they are due, or on another broker, such as Redis"
    );
}

#[tokio::test]
async fn the_same_module_runs_with_a_stand_in_for_the_scheduler() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let bus = BusBuilder::new()
        .subscribe_async::<Reminded, _>(Reminder)
        .register_command_fn(move |later: Later<Expire>| seen.lock().unwrap().push(later))
        .register_command_fn(|_: Expire| Ok(()))
        .build();
    bus.publish_async(&Reminded { order: 7 }).await.unwrap();
    let [later] = &log.lock().unwrap()[..] else {
        panic!("one is sent");
    };
    let (message, due) = later.message().unwrap();
    assert_eq!((message.order, due), (7, &Due::after(HOUR)));
    assert_eq!(*later, Later::execute(Expire { order: 7 }, HOUR));
    let cancelled = Later::<Expire>::cancel_command("7");
    assert_eq!(
        (cancelled.cancelled(), cancelled.message()),
        (Some("7"), None)
    );
}

#[test]
fn a_later_has_the_name_of_its_message_and_is_another_message() {
    assert_eq!(<Later<Expire>>::NAME, "orders.expire later");
    assert_eq!(<Later<Later<Expire>>>::NAME, "orders.expire later later");
    let bus = BusBuilder::new()
        .register_command_fn(|_: Later<Expire>| ())
        .register_command_fn(|_: Expire| Err("not now"))
        .register_command_fn(|_: Later<Reminded>| ())
        .build();
    bus.execute(Later::execute(Expire { order: 1 }, HOUR));
    assert_eq!(bus.execute(Expire { order: 1 }), Err("not now"));
    bus.execute(Later::publish(Reminded { order: 1 }, HOUR));
}

/// Sends everything an hour later than it was to be sent.
struct AnHourLater(Log);
impl Layer for AnHourLater {
    type Around = AnHourLater;
    fn around(&self, registration: Registration) -> AnHourLater {
        let line = format!("{} to {}", registration.message, registration.handler);
        self.0.lock().unwrap().push(line);
        AnHourLater(self.0.clone())
    }
}
impl<B: ?Sized> AsyncAroundCommand<Later<Expire>, B> for AnHourLater {
    async fn command(
        &self,
        command: Later<Expire>,
        _: &B,
        next: impl NextCommand<Later<Expire>>,
    ) -> Result<(), BusError> {
        let (message, due) = command.message().unwrap();
        self.0
            .lock()
            .unwrap()
            .push(format!("{message:?} {:?}", due.time));
        next.run(Later::execute(message.clone(), HOUR * 2)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_within_a_layer_passes_it() {
    let broker = MemoryBroker::new();
    let (worker, handled) = noting(broker.clone()).await;
    let log = Log::default();
    let later = connect(&broker).await.scheduler().unwrap();
    let later = later.layer(AnHourLater(log.clone()));
    later.execute_at(Expire { order: 1 }, HOUR).await.unwrap();
    let lines = [
        "orders.expire later to memory",
        "Expire { order: 1 } After(3600s)",
    ];
    assert_eq!(taken(&log), lines);
    sleep(HOUR + SECOND).await;
    assert_eq!(taken(&handled), Vec::<String>::new());
    sleep(HOUR).await;
    assert_eq!(taken(&handled), ["Expire { order: 1 }"]);
    worker.shutdown(LONG).await;
}

#[test]
fn with_every_fault_a_timeout_comes_no_earlier_and_a_cancelled_one_never() {
    sim::search(0..100, async |sim| {
        let handled = Arc::new(Mutex::new(Vec::new()));
        let begun = tokio::time::Instant::now();
        let seen = handled.clone();
        let started = sim.process("orders", move |broker: SimBroker| {
            let seen = seen.clone();
            let bus = BusBuilder::new()
                .register_command_fn(move |Expire { order }: Expire| {
                    seen.lock().unwrap().push((order, begun.elapsed()));
                    Ok(())
                })
                .build();
            Worker::new(broker, bus).command::<Expire>().start()
        });
        started.await.map_err(|error| error.to_string())?;
        let remote = RemoteBus::connect(sim.clone()).await;
        let later = remote.and_then(|remote| remote.scheduler());
        let later = later.map_err(|error| error.to_string())?;
        for order in 0..6 {
            let due = Due::after(HOUR / 4).with_key(order.to_string());
            let sent = later.execute_at(Expire { order }, due).await;
            sent.map_err(|error| error.to_string())?;
        }
        for order in [1, 4] {
            let cancelled = later.cancel_command::<Expire>(order.to_string()).await;
            cancelled.map_err(|error| error.to_string())?;
        }
        sleep(HOUR / 4).await;
        let quiet = sim.until_quiet(LONG * 20).await;
        quiet.map_err(|error| error.to_string())?;
        let handled = handled.lock().unwrap();
        let mut orders: Vec<_> = handled.iter().map(|(order, _)| *order).collect();
        orders.sort();
        orders.dedup();
        match orders[..] == [0, 2, 3, 5] && handled.iter().all(|(_, at)| *at >= HOUR / 4) {
            true => Ok(()),
            false => Err(format!("{handled:?}")),
        }
    });
}
