//! Groups that vanish while nothing is read: the server is emptied, a stream deleted, a group destroyed.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::TryRecvError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::AsyncPublishEvent, prelude::*};
use static_bus_redis::RedisTransport;
use static_bus_remote::{
    RemoteBus, Transport, TransportErrorKind, Worker, WorkerHandle,
    transport::{Consumer, Subscription},
};
use tokio::sync::{Semaphore, mpsc};

use crate::support::*;
use test_brokers::redis::Redis;

#[derive(Serialize, Deserialize)]
struct Noted {
    number: u32,
}
event!(Noted, name = "noted");

/// Commands after which the group of the event is missing.
const LOSSES: [&[&[&str]]; 3] = [
    &[&["FLUSHALL"]],
    &[&["DEL", "static-bus:{event:noted}"]],
    &[&["XGROUP", "DESTROY", "static-bus:{event:noted}", "notes"]],
];

#[tokio::test]
async fn each_event_that_is_accepted_after_the_loss_of_its_group_is_handled_also_when_the_worker_is_busy()
 {
    for loss in LOSSES {
        let redis = Redis::start();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, mut heard) = mpsc::unbounded_channel();
        let bus = BusBuilder::new().subscribe_async_fn({
            let gate = gate.clone();
            move |noted: &Noted| {
                tell.send(noted.number).unwrap();
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok(())
                }
            }
        });
        let worker = Worker::new(connect(&redis).await, bus.build()).event::<Noted>("notes");
        let worker = worker
            .configure::<Noted>(|it| it.limit(const { std::num::NonZeroUsize::new(1).unwrap() }));
        let worker = worker.start().await.unwrap();
        let remote = RemoteBus::connect(connect(&redis).await).await.unwrap();
        remote.publish_async(&Noted { number: 0 }).await.unwrap();
        assert_eq!(heard.recv().await, Some(0), "the only place is taken");
        // The worker reads one more, and then nothing.
        remote.publish_async(&Noted { number: 0 }).await.unwrap();
        eventually("both are read", async || {
            let groups = redis.command(&["XINFO", "GROUPS", "static-bus:{event:noted}"]);
            groups.contains("pending\r\n:2\r\n")
        })
        .await;
        for command in loss {
            redis.command(command);
        }
        let mut accepted = 0;
        for number in 1..=120 {
            let published = remote.publish_async(&Noted { number }).await;
            accepted += usize::from(published.is_ok());
        }
        eventually("events are accepted again", async || {
            let published = remote.publish_async(&Noted { number: 1000 }).await;
            published.is_ok()
        })
        .await;
        gate.add_permits(1000);
        let mut handled = 0;
        while handled < accepted + 1 {
            let next = tokio::time::timeout(LONG, heard.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("{loss:?}: {handled} of {accepted}"));
            handled += usize::from(next != Some(0));
        }
        worker.shutdown(LONG).await;
    }
}

/// A worker whose handler tells the numbers of its events.
async fn note(
    transport: RedisTransport,
    subscriber: &'static str,
    tell: mpsc::UnboundedSender<u32>,
) -> WorkerHandle<RedisTransport> {
    let bus = BusBuilder::new().subscribe_fn(move |noted: &Noted| tell.send(noted.number).unwrap());
    let worker = Worker::new(transport, bus.build()).event::<Noted>(subscriber);
    worker.start().await.unwrap()
}

/// One subscriber has handled what came meanwhile, and trimmed, when the other creates its group again.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_that_is_accepted_after_a_loss_reaches_a_subscriber_that_returns_later() {
    for loss in LOSSES {
        let redis = Redis::start();
        let (tell, _heard) = mpsc::unbounded_channel();
        let _quick = note(connect(&redis).await, "quick", tell).await;
        let (tell, mut late) = mpsc::unbounded_channel();
        let (block, blocked) = std::sync::mpsc::channel();
        let url = redis.url().to_owned();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let transport = redis_at(&url).connect().await.unwrap();
                let _late = note(transport, "notes", tell).await;
                loop {
                    match blocked.try_recv() {
                        Ok(()) => std::thread::sleep(Duration::from_secs(3)),
                        Err(TryRecvError::Empty) => {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        Err(TryRecvError::Disconnected) => break,
                    }
                }
            });
        });
        let remote = RemoteBus::connect(connect(&redis).await).await.unwrap();
        let mut heard = BTreeSet::new();
        eventually("both have subscribed", async || {
            let groups = redis.command(&["XINFO", "GROUPS", "static-bus:{event:noted}"]);
            groups.contains("quick") && groups.contains("notes")
        })
        .await;
        // A sender that has sent nothing before would not know that there were subscribers.
        remote.publish_async(&Noted { number: 0 }).await.unwrap();
        block.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        for command in loss {
            redis.command(command);
        }
        let mut accepted = BTreeSet::new();
        let mut number = 0;
        let end = Instant::now() + LONG;
        while accepted.len() < 1000 {
            assert!(
                Instant::now() < end,
                "{loss:?}: {} accepted",
                accepted.len()
            );
            number += 1;
            if remote.publish_async(&Noted { number }).await.is_ok() {
                accepted.insert(number);
            }
        }
        while !heard.is_superset(&accepted) {
            let missing = accepted.difference(&heard).count();
            let next = tokio::time::timeout(LONG, late.recv()).await;
            heard.extend(next.unwrap_or_else(|_| panic!("{loss:?}: {missing} are missing")));
        }
    }
}

#[tokio::test]
async fn an_event_whose_stream_is_gone_is_refused_until_its_groups_are_back() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let one = || vec![(topic.clone(), record("1"))];
    transport.append(one()).await.remove(0).unwrap();
    let group = Subscription::new(topic.clone(), "mail", "a");
    let consumer = transport.consume(group.clone()).await.unwrap();
    transport.append(one()).await.remove(0).unwrap();
    consumer.close().await.unwrap();
    redis.command(&["FLUSHALL"]);
    let error = transport.append(one()).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let text = error.to_string();
    assert!(text.contains("the stream of event e is gone"), "{text}");
    let _again = transport.consume(group).await.unwrap();
    transport.append(one()).await.remove(0).unwrap();
}

#[tokio::test]
async fn a_lost_group_is_created_again_by_a_member_that_receives_nothing() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let group = Subscription::new(topic.clone(), "mail", "a");
    let consumer = transport.consume(group).await.unwrap();
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let held = receive(&consumer, 2).await;
    redis.command(&["FLUSHALL"]);
    let groups = async || redis.command(&["XINFO", "GROUPS", "static-bus:{event:e}/7"]);
    eventually("all its streams are back", async || {
        groups().await.contains("mail")
    })
    .await;
    consumer.renew(&leases(&held)).await.unwrap();
    redis.command(&["FLUSHALL"]);
    consumer.renew(&leases(&held)).await.unwrap();
    redis.command(&["FLUSHALL"]);
    consumer.release(&leases(&held)).await.unwrap();
    append(&transport, &topic, [record("3"), keyed("k", "4")]).await;
    let mut bodies = bodies(&receive(&consumer, 2).await);
    bodies.sort();
    assert_eq!(bodies, ["3", "4"]);
    tokio::time::timeout(Duration::from_secs(30), consumer.close())
        .await
        .unwrap()
        .unwrap();
}
