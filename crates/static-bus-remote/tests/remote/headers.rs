//! Headers that a program sets.

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{DeadLetters, Envelope, MemoryBroker, Worker, current, transport::Kind};

use crate::support::{Tell, TestBroker, connect, dead_lettered, listen, quick};

#[derive(Serialize, Deserialize)]
struct GetUser(u32);
query!(GetUser -> Option<String>, name = "users.get");
#[derive(Serialize, Deserialize)]
struct Place(u32);
command!(Place, name = "orders.place");
#[derive(Serialize, Deserialize)]
struct Placed(u32);
event!(Placed, name = "orders.placed");

/// The header of the message that is being handled.
fn header(name: &str) -> Option<String> {
    current().unwrap().header(name).map(str::to_owned)
}

#[tokio::test]
async fn each_message_of_a_bus_with_a_header_carries_it_to_its_handler() {
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetUser| header("tenant"))
        .build();
    let _worker = Worker::new(broker.clone(), bus)
        .query::<GetUser>()
        .start()
        .await
        .unwrap();
    let plain = connect(&broker).await;
    let acme = plain.with_header("tenant", "acme").unwrap();
    let answer = acme.send_async(GetUser(1)).await.unwrap();
    assert_eq!(answer.as_deref(), Some("acme"));
    assert_eq!(plain.send_async(GetUser(1)).await.unwrap(), None);

    acme.execute_async(Place(1)).await.unwrap();
    acme.execute_many([Place(2), Place(3)]).await.unwrap();
    acme.publish_async(&Placed(1)).await.unwrap();
    let mut sent = broker.appended(Kind::Command);
    sent.extend(broker.appended(Kind::Event));
    assert_eq!(sent.len(), 4);
    for record in sent {
        assert_eq!(record.headers.get("tenant").as_deref(), Some("acme"));
    }
    let reply = broker.appended(Kind::Reply).remove(0);
    assert_eq!(reply.headers.get("tenant"), None, "a reply has none");
}

#[tokio::test]
async fn a_header_of_the_same_name_is_replaced_and_any_value_arrives() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    let value = "line 1\r\nline 2: 100 %, ü";
    let remote = remote.with_header("note", "old").unwrap();
    let remote = remote.with_header("note", value).unwrap();
    let remote = remote.with_header("empty", "").unwrap();
    remote.execute_async(Place(1)).await.unwrap();
    let record = broker.only(Kind::Command);
    let envelope = Envelope::parse(&record.headers).unwrap();
    let custom = [("note".into(), value.into()), ("empty".into(), "".into())];
    assert_eq!(envelope.custom, custom);
    assert_eq!(envelope.header("note"), Some(value));
    assert_eq!(envelope.header("other"), None);
    assert_eq!(envelope.header("id"), None, "it has a field of its own");
    assert_eq!(envelope.headers(), record.headers);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_and_its_replay_keep_the_headers() {
    let broker = MemoryBroker::new();
    let (tell, mut heard) = listen();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Place| {
            tell.send((current().unwrap().attempt, header("tenant")))
                .unwrap();
            async { Err(BusError::refused::<Place>("full")) }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Place>();
    let _worker = worker.start().await.unwrap();
    let acme = connect(&broker)
        .await
        .with_header("tenant", "acme")
        .unwrap();
    acme.execute_async(Place(1)).await.unwrap();
    assert_eq!(heard.next().await, (1, Some("acme".into())));
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.record.headers.get("tenant").as_deref(), Some("acme"));
    DeadLetters::of(broker.clone())
        .replay(&letter)
        .await
        .unwrap();
    assert_eq!(heard.next().await, (2, Some("acme".into())));
}

/// Sends on, with what it is registered with.
struct Orders(Tell<[Option<String>; 2]>);
impl<B: AsyncPublishEvent<Placed>> AsyncCommandHandler<Place, B> for Orders {
    async fn handle(&self, order: Place, bus: &B) -> Result<(), BusError> {
        bus.publish_async(&Placed(order.0)).await
    }
}
impl<B> AsyncEventHandler<Placed, B> for Orders {
    async fn handle(&self, _: &Placed, _bus: &B) -> Result<(), BusError> {
        self.0.send([header("tenant"), header("user")]).unwrap();
        Ok(())
    }
}

/// The headers of the event that a handler publishes for a command with the headers `tenant` and `user`.
async fn nested(inherited: &[&'static str], own: Option<&'static str>) -> [Option<String>; 2] {
    let broker = MemoryBroker::new();
    let (tell, mut heard) = listen();
    let remote = connect(&broker).await;
    let sender = match own {
        Some(user) => remote.with_header("user", user).unwrap(),
        None => remote.clone(),
    };
    let orders = BusBuilder::new()
        .register_command_async::<Place, _>(Orders(tell.clone()))
        .subscribe_async::<Placed, _>(sender)
        .build();
    let mut worker = Worker::new(broker.clone(), orders).command::<Place>();
    for name in inherited {
        worker = worker.inherit_header(*name);
    }
    let _orders = worker.retries(quick(1)).start().await.unwrap();
    let mails = BusBuilder::new()
        .subscribe_async::<Placed, _>(Orders(tell))
        .build();
    let mails = Worker::new(broker.clone(), mails).event::<Placed>("mail");
    let _mails = mails.start().await.unwrap();
    let remote = remote.with_header("tenant", "acme").unwrap();
    let remote = remote.with_header("user", "ada").unwrap();
    remote.execute_async(Place(1)).await.unwrap();
    heard.next().await
}

#[tokio::test]
async fn a_nested_send_inherits_the_headers_that_the_worker_passes_on_and_no_others() {
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(nested(&[], None).await, [None, None]);
    assert_eq!(nested(&["tenant"], None).await, [some("acme"), None]);
    assert_eq!(
        nested(&["user", "tenant", "absent"], None).await,
        [some("acme"), some("ada")]
    );
}

#[tokio::test]
async fn a_header_that_is_set_goes_before_an_inherited_one() {
    let expected = [Some("acme".to_owned()), Some("bob".to_owned())];
    assert_eq!(nested(&["tenant", "user"], Some("bob")).await, expected);
}

#[tokio::test]
async fn a_name_that_no_header_can_have_is_refused_with_the_reason() {
    let remote = connect(&TestBroker::new()).await;
    let error = |name: &str| remote.with_header(name, "x").unwrap_err().to_string();
    for name in [
        "",
        "Tenant",
        "tenant-id",
        "tenant id",
        "ténant",
        "a:b",
        "a\n",
    ] {
        let text =
            "cannot be the name of a header: a name is lower-case letters `a` to `z` and digits";
        assert_eq!(error(name), format!("`{name}` {text}"));
    }
    let mut full = Envelope::new("shop", "orders.place", "application/json");
    full.deadline = Some("2026-11-24T10:00:05Z".parse().unwrap());
    full.attempt = 2;
    let full = full.headers();
    let used = full.iter().map(|(name, _)| name);
    for name in used.chain(["subject", "dataschema", "traceparent", "onlyfor", "status"]) {
        let text = "cannot be the name of a header: it is an attribute of CloudEvents or of static-bus, choose another";
        assert_eq!(error(name), format!("`{name}` {text}"));
    }
    for name in ["tenant", "x2", "7"] {
        remote.with_header(name, "x").unwrap();
    }
}

#[test]
#[should_panic(expected = "`Tenant` cannot be the name of a header")]
fn a_worker_refuses_to_pass_on_a_header_that_cannot_exist() {
    let bus = BusBuilder::new().build();
    let _ = Worker::new(MemoryBroker::new(), bus).inherit_header("Tenant");
}
