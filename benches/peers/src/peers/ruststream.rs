//! `ruststream` on its memory broker, on tokio's current-thread runtime.
//!
//! Messages are bytes, by the fastest route, which has no codec. Answers are JSON,
//! because a reply to the address of a request needs a codec. Commands and events are queued;
//! the batch ends when the last one is handled.

use std::{convert::Infallible, hint::black_box, time::Duration};

use ruststream::{
    OutgoingMessage,
    memory::{MemoryPublisher, MemoryRequester, prelude::*},
    runtime::{Outgoing, PublishContext, RunningApp},
};
use serde::Serialize;
use tokio::{runtime::Runtime, task::yield_now};

use crate::{
    jobs::{Counter, Job, State as Counters, answer},
    peer::{Missing, Peer},
};

/// A time limit, not reached unless a call hangs.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialized)]
struct Number<'a>(&'a [u8]);
impl Number<'_> {
    fn value(&self) -> u64 {
        u64::from_le_bytes(self.0.try_into().expect("eight bytes"))
    }
}
#[derive(Outgoing, Serialize)]
struct Reply(u64);

#[derive(Clone)]
struct Command(Counter);
#[derive(Clone)]
struct One(Counter);
#[derive(Clone)]
struct Three([Counter; 3]);
#[derive(FromRef)]
struct Shared {
    command: Command,
    one: One,
    three: Three,
}

#[subscriber("ask", reply("answers"))]
async fn on_ask(question: &Number<'_>) -> Reply {
    Reply(answer(question.value()))
}
#[subscriber("add")]
async fn on_add(amount: &Number<'_>, State(counter): State<Command>) -> HandlerOutcome {
    counter.0.add(amount.value());
    HandlerOutcome::ack()
}
#[subscriber("one")]
async fn on_one(amount: &Number<'_>, State(counter): State<One>) -> HandlerOutcome {
    counter.0.add(amount.value());
    HandlerOutcome::ack()
}
#[subscriber("three")]
async fn first(amount: &Number<'_>, State(counters): State<Three>) -> HandlerOutcome {
    counters.0[0].add(amount.value());
    HandlerOutcome::ack()
}
#[subscriber("three")]
async fn second(amount: &Number<'_>, State(counters): State<Three>) -> HandlerOutcome {
    counters.0[1].add(amount.value());
    HandlerOutcome::ack()
}
#[subscriber("three")]
async fn third(amount: &Number<'_>, State(counters): State<Three>) -> HandlerOutcome {
    counters.0[2].add(amount.value());
    HandlerOutcome::ack()
}

/// Replies to the address of the request.
struct ToInbox;
impl<C, Options> PublishTransform<ForReply<C>, Options> for ToInbox {
    type Destination = Names;
    fn apply(
        &self,
        out: &mut Outgoing<'_>,
        _: &mut Option<Options>,
        context: &PublishContext<'_, C>,
    ) {
        if let Some(inbox) = context.headers().get_shared("reply-to")
            && let Ok(name) = Str::try_from(inbox)
        {
            out.set_name(name);
        }
    }
}

pub struct RustStreamPeer {
    runtime: Runtime,
    requester: MemoryRequester,
    publisher: MemoryPublisher,
    state: Counters,
    _service: RunningApp,
}

impl RustStreamPeer {
    pub fn new() -> Self {
        let state = Counters::default();
        let shared = Shared {
            command: Command(state.command.clone()),
            one: One(state.one.clone()),
            three: Three(state.three.clone()),
        };
        let runtime = super::current_thread();
        let broker = MemoryBroker::new();
        let service = RustStream::new(AppInfo::new("peers", "0.0.0"))
            .on_startup(async move |()| Ok::<_, Infallible>(shared))
            .with_broker(broker.clone(), |b| {
                b.include(on_ask).out_reply(Publish).transform(ToInbox);
                b.include(on_add);
                b.include(on_one);
                b.include(first);
                b.include(second);
                b.include(third);
            });
        RustStreamPeer {
            requester: broker.requester(),
            publisher: broker.publisher(),
            state,
            _service: runtime
                .block_on(service.start())
                .expect("the service starts"),
            runtime,
        }
    }

    /// Publishes the numbers below `n`, then waits until `last` has grown by their sum.
    async fn publish(&self, name: &str, n: u64, last: &Counter) {
        let mut target = last.value();
        for i in 0..n {
            target = target.wrapping_add(i);
            let bytes = black_box(i).to_le_bytes();
            self.publisher
                .publish(OutgoingMessage::new(name, &bytes), None)
                .await
                .expect("the broker runs");
        }
        while last.value() != target {
            yield_now().await;
        }
    }

    async fn request(&self, n: u64) -> u64 {
        let mut sum = 0u64;
        for i in 0..n {
            let bytes = black_box(i).to_le_bytes();
            let reply = self
                .requester
                .request(OutgoingMessage::new("ask", &bytes), PATIENCE)
                .await
                .expect("an answer");
            let answer: u64 = serde_json::from_slice(reply.payload()).expect("a number");
            sum = sum.wrapping_add(answer);
        }
        sum
    }
}

impl Peer for RustStreamPeer {
    fn name(&self) -> &'static str {
        "ruststream 0.7, memory, on tokio"
    }
    fn offers(&self, _: Job) -> bool {
        true
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        let state = &self.state;
        self.runtime.block_on(async {
            match job {
                Job::Query => return self.request(n).await,
                Job::Command => self.publish("add", n, &state.command).await,
                Job::EventToOne => self.publish("one", n, &state.one).await,
                Job::EventToThree => self.publish("three", n, &state.three[2]).await,
            }
            0
        })
    }
    fn state(&self) -> &Counters {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let nobody = OutgoingMessage::new("nobody", &[0u8; 8]);
        let outcome = self.runtime.block_on(self.publisher.publish(nobody, None));
        let request = OutgoingMessage::new("nobody", &[0u8; 8]);
        let reply = self
            .runtime
            .block_on(self.requester.request(request, Duration::from_millis(10)));
        let reply = reply
            .err()
            .map_or("a reply".into(), |error| error.to_string());
        Missing::RunTime(format!("publish: {outcome:?}; request: {reply}"))
    }
}
