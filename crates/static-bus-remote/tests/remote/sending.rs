//! Handlers whose messages the broker does not accept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, BusError},
    prelude::*,
};
use static_bus_remote::{RemoteBus, TransportErrorKind, Worker, current, transport::Kind};

use crate::support::{
    Fault, LONG, Op, Tell, TestBroker, connect, dead_lettered, letters, listen, quick, settled,
};

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

#[derive(Serialize, Deserialize)]
struct Paid {
    invoice: u32,
}
event!(Paid, name = "billing.paid");

const PAY: &str = "billing.pay";

/// A message without a worker.
#[derive(Serialize, Deserialize)]
struct Thank {
    invoice: u32,
}
command!(Thank, name = "mail.thank");

#[tokio::test(start_paused = true)]
async fn what_the_broker_does_not_take_uses_up_no_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |Pay { invoice }: Pay| {
            tell.send(()).unwrap();
            let remote = sending.clone();
            async move {
                remote.execute_async(Thank { invoice }).await?;
                Err(BusError::rejected::<Pay>("the bank is closed"))
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Pay>();
    let worker = worker.retries(quick(3)).start().await.unwrap();
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 3);
    heard.take(3).await;

    remote.execute_async(Pay { invoice: 8 }).await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Command));
    heard.take(50).await;
    assert_eq!(letters(&broker).await.len(), 1);
    broker.mend();
    let letter = dead_lettered(&broker, 2).await.remove(1);
    assert_eq!(letter.attempts, 3, "those that the broker did not fail");
    worker.shutdown(LONG).await;
}

/// A bus whose subscriber of a payment sends a command, and reports the attempt.
fn thanking(
    remote: &Arc<RemoteBus<TestBroker>>,
    tell: Tell<()>,
) -> impl AsyncPublishEvent<Paid> + Send + 'static {
    let remote = remote.clone();
    BusBuilder::new()
        .subscribe_async_fn(move |paid: &Paid| {
            tell.send(()).unwrap();
            let (remote, invoice) = (remote.clone(), paid.invoice);
            async move { remote.execute_async(Thank { invoice }).await }
        })
        .build()
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_does_not_take_from_a_subscriber_uses_up_no_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let worker = Worker::new(broker.clone(), thanking(&remote, tell)).event::<Paid>("mail");
    let worker = worker.retries(quick(3)).start().await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Command));
    remote.publish_async(&Paid { invoice: 7 }).await.unwrap();
    heard.take(50).await;
    broker.mend();
    settled(&broker, Kind::Event, "billing.paid", "mail").await;
    worker.shutdown(LONG).await;
    assert_eq!(letters(&broker).await.len(), 0);
}

/// A bus whose handler of a payment publishes an event, and reports the attempt.
fn publishing(
    remote: &Arc<RemoteBus<TestBroker>>,
    tell: Tell<u32>,
) -> impl AsyncExecuteCommand<Pay> + Send + 'static {
    let remote = remote.clone();
    BusBuilder::new()
        .register_command_async_fn(move |Pay { invoice }: Pay| {
            tell.send(current().unwrap().attempt).unwrap();
            let remote = remote.clone();
            async move { remote.publish_async(&Paid { invoice }).await }
        })
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_too_much_makes_a_dead_letter_at_once_and_its_key_goes_on() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
    let worker = worker.retries(quick(5)).start().await.unwrap();
    broker.fail(Op::Append(Kind::Event), TransportErrorKind::TooLarge, 1);
    for _ in 0..2 {
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    }
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 1);
    assert!(
        letter.error.contains("the record is too large"),
        "{}",
        letter.error
    );
    settled(&broker, Kind::Command, PAY, "handlers").await;
    assert_eq!(heard.rest(), [1, 1]);
    assert_eq!(broker.appended(Kind::Event).len(), 1, "of the second");
    assert_eq!(letters(&broker).await.len(), 1);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_sends_too_much_makes_a_dead_letter_at_once() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let worker = Worker::new(broker.clone(), thanking(&remote, tell)).event::<Paid>("mail");
    let worker = worker.retries(quick(5)).start().await.unwrap();
    broker.fail(Op::Append(Kind::Command), TransportErrorKind::TooLarge, 1);
    remote.publish_async(&Paid { invoice: 7 }).await.unwrap();
    assert_eq!(dead_lettered(&broker, 1).await.remove(0).attempts, 1);
    heard.next().await;
    heard.is_silent();
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_sending_is_refused_uses_up_its_attempts_and_its_key_goes_on() {
    for kind in [
        TransportErrorKind::Refused,
        TransportErrorKind::Unauthorized,
    ] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        broker.fail(Op::Append(Kind::Event), kind, 3);
        for _ in 0..2 {
            remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        }
        let letter = dead_lettered(&broker, 1).await.remove(0);
        assert_eq!(letter.attempts, 3, "{kind:?}");
        settled(&broker, Kind::Command, PAY, "handlers").await;
        assert_eq!(heard.rest().len(), 4, "three of the first: {kind:?}");
        assert_eq!(broker.appended(Kind::Event).len(), 1, "of the second");
        worker.shutdown(LONG).await;
    }
}

/// An error of a handler, with another one as its source.
#[derive(Debug)]
struct Unpaid(Box<dyn std::error::Error + Send + Sync>);
impl std::fmt::Display for Unpaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unpaid")
    }
}
impl std::error::Error for Unpaid {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_broker_in_an_error_of_the_handler_counts_by_its_kind() {
    const TIMES: usize = 20;
    for (kind, runs, attempts) in [
        (TransportErrorKind::TooLarge, 1, Some(1)),
        (TransportErrorKind::Refused, 3, Some(3)),
        (TransportErrorKind::Unauthorized, 3, Some(3)),
        (TransportErrorKind::Unreachable, TIMES + 1, None),
        (TransportErrorKind::Closed, TIMES + 1, None),
    ] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let sending = remote.clone();
        // A handler that publishes on a bus of its own, one of whose subscribers is the broker.
        let inner = BusBuilder::new()
            .subscribe_async_fn(move |paid: &Paid| {
                let (remote, invoice) = (sending.clone(), paid.invoice);
                async move {
                    let sent = remote.execute_async(Thank { invoice }).await;
                    sent.map_err(|error| BusError::rejected::<Paid>(Unpaid(error.into())))
                }
            })
            .build();
        let inner = Arc::new(inner);
        let bus = BusBuilder::new()
            .register_command_async_fn(move |Pay { invoice }: Pay| {
                tell.send(()).unwrap();
                let inner = inner.clone();
                async move {
                    let published = inner.publish_async(&Paid { invoice }).await;
                    let twice = |error: BusError| Unpaid(Unpaid(error.into()).into());
                    published.map_err(|error| BusError::rejected::<Pay>(twice(error)))
                }
            })
            .build();
        let worker = Worker::new(broker.clone(), bus).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        // The two payments are accepted, and then this number of other commands is not.
        let mut sent = 0;
        let failing = if attempts.is_some() { runs } else { TIMES };
        broker.rule(move |op| {
            sent += usize::from(op == Op::Append(Kind::Command));
            match op {
                Op::Append(Kind::Command) if sent > 2 && sent <= 2 + failing => Fault::Kind(kind),
                _ => Fault::None,
            }
        });
        let pay = || Pay { invoice: 7 };
        remote.execute_many([pay(), pay()]).await.unwrap();
        settled(&broker, Kind::Command, PAY, "handlers").await;
        let letters = letters(&broker).await;
        let found = letters.first().map(|letter| letter.attempts);
        assert_eq!(
            (found, letters.len()),
            (attempts, usize::from(attempts.is_some()))
        );
        assert_eq!(
            heard.rest().len(),
            runs + 1,
            "and the next of its key: {kind:?}"
        );
        worker.shutdown(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_transport_counts_as_an_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Pay| {
            tell.send(()).unwrap();
            async {
                Err(BusError::Transport {
                    message: "mail.thank",
                    source: "the mail server is down".into(),
                })
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Pay>();
    let worker = worker.retries(quick(3)).start().await.unwrap();
    let remote = connect(&broker).await;
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    assert_eq!(dead_lettered(&broker, 1).await.remove(0).attempts, 3);
    assert_eq!(heard.rest().len(), 3);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_heal_by_waiting_uses_up_no_attempt_of_a_handler() {
    for kind in [TransportErrorKind::Unreachable, TransportErrorKind::Closed] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        broker.fail(Op::Append(Kind::Event), kind, 50);
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        assert_eq!(heard.take(51).await, [1; 51], "{kind:?}");
        settled(&broker, Kind::Command, PAY, "handlers").await;
        assert_eq!(letters(&broker).await.len(), 0, "{kind:?}");
        worker.shutdown(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_that_is_too_long_is_refused() {
    let remote = connect(&TestBroker::new()).await;
    let send = async |length| {
        let remote = remote.with_idempotency_key("k".repeat(length));
        remote.execute_many([Pay { invoice: 7 }]).await
    };
    send(1000).await.unwrap();
    let error = send(1001).await.unwrap_err().to_string();
    assert!(
        error.contains("the idempotency key has 1001 bytes, and the limit is 1000: shorten it"),
        "{error}"
    );
}
