//! The worker: handles messages from a broker with the handlers of a bus in this process.

mod call;
mod failure;
mod handle;
mod handlers;
mod health;
mod lane;
mod meter;
mod query_lane;
mod running;
mod served;
mod settings;
mod slots;

use std::{borrow::Cow, collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;

use super::{
    RetryPolicy, Transport, TransportError, TransportErrorKind,
    client::check_header,
    outbound::Outbound,
    time::{LONGEST, later},
    transport::{Consumer, Kind, Receiver, Subscription},
};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery};
use static_bus::message::{Command, Event, Message, Query};

pub use handle::{ShutdownReport, WorkerHandle};
pub use health::Health;
pub use running::RunningHandler;
pub use settings::MessageSettings;

use health::{Report, Reports};
use lane::Lane;
use meter::{BacklogMeter, Meter};
use query_lane::QueryLane;
use running::{Running, RunningFor};
use served::Served;
use settings::Settings;

/// Handles messages from a broker with the handlers of a bus in this process.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use static_bus::prelude::*;
/// # use static_bus_remote::{MemoryBroker, RemoteBus, Worker};
/// # use serde::{Serialize, Deserialize};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(Serialize, Deserialize)]
/// struct OrderCreated { order: u64 }
/// event!(OrderCreated, key = order);
///
/// let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
/// let bus = BusBuilder::new()
///     .subscribe_fn(move |event: &OrderCreated| heard.send(event.order).unwrap())
///     .build();
///
/// let broker = MemoryBroker::new();
/// let worker = Worker::new(broker.clone(), bus)
///     .event::<OrderCreated>("inventory") // the name of the subscriber, the same at every start
///     .start()
///     .await?;
///
/// RemoteBus::connect(broker).await?.publish_async(&OrderCreated { order: 7 }).await?;
/// assert_eq!(hears.recv().await, Some(7));
/// worker.shutdown(Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
///
/// Commands and events are handled *at least once*: they are acknowledged when their handler has
/// succeeded. A message whose handler fails is repeated according to the [`RetryPolicy`], and then becomes a
/// [dead letter](super::DeadLetters). A message that cannot be read, or that its handler
/// [refuses](static_bus::asynchronous::BusError::refused), becomes one at once. Duplicates are recognised by their
/// id or idempotency key. Commands and events with one ordering key are handled one after the other.
///
/// Queries are handled *at most once*, before their deadline, in any order.
///
/// Each type of message has its own connection and its own buffer: none waits for another.
#[must_use = "a worker does nothing until `start`"]
pub struct Worker<T: Transport, B> {
    transport: T,
    bus: Arc<B>,
    served: Vec<Served>,
    inherited: Vec<Box<str>>,
    settings: Settings,
}

/// The environment of a lane.
struct LaneContext {
    served: Served,
    meter: Meter,
    settings: Settings,
    member: Arc<str>,
    /// The slots that all lanes share.
    slots: Arc<Semaphore>,
    outbound: Outbound,
    report: Report,
    draining: Draining,
}

/// The deadlines of the shutdown; `None` until the worker shuts down.
type Draining = watch::Receiver<Option<Deadlines>>;

/// The deadlines of a shutdown.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    /// The time until which calls to the broker that were under way at the beginning may take.
    intake: Instant,
    /// The time at which running handlers are cancelled.
    handlers: Instant,
    /// The time until which messages are settled.
    settling: Instant,
    /// The end of the shutdown.
    end: Instant,
}

impl Deadlines {
    fn new(patience: Duration, settle: Duration) -> Self {
        let now = Instant::now();
        let handlers = later(now, patience);
        Deadlines {
            intake: later(now, settle / 3),
            handlers,
            // The lanes end before the worker stops waiting for them.
            settling: later(handlers, settle - settle / 10),
            end: later(handlers, settle),
        }
    }
}

impl<T: Transport, B: Send + Sync + 'static> Worker<T, B> {
    /// A worker that serves no messages yet.
    pub fn new(transport: T, bus: B) -> Self {
        Self::shared(transport, Arc::new(bus))
    }

    /// A worker with a bus that is shared.
    pub fn shared(transport: T, bus: Arc<B>) -> Self {
        Worker {
            transport,
            bus,
            served: Vec::new(),
            inherited: Vec::new(),
            settings: Settings {
                service: super::client::program(),
                concurrency: const { NonZeroUsize::new(256).unwrap() },
                lease: Duration::from_secs(30),
                deduplication: Some(Duration::from_secs(600)),
                retries: RetryPolicy::default(),
                handler_timeout: None,
                settle_timeout: Duration::from_secs(5),
            },
        }
    }

    /// Serves query `Q`.
    pub fn query<Q>(mut self) -> Self
    where
        B: AsyncSendQuery<Q>,
        Q: Query<Response: Serialize + Send> + DeserializeOwned + Send + 'static,
    {
        self.served.push(Served::query::<Q, B>(self.bus.clone()));
        self
    }

    /// Serves command `C`.
    pub fn command<C>(mut self) -> Self
    where
        B: AsyncExecuteCommand<C>,
        C: Command + DeserializeOwned + Send + 'static,
    {
        self.served.push(Served::command::<C, B>(self.bus.clone()));
        self
    }

    /// Serves event `E` as a subscriber with this name.
    ///
    /// Each subscriber gets every event that is published after its first start, also
    /// while none of its workers runs. The broker recognises it by its name: keep the name
    /// when types and programs are renamed. Workers with the same name share the events.
    pub fn event<E>(mut self, subscriber: impl Into<Cow<'static, str>>) -> Self
    where
        B: AsyncPublishEvent<E>,
        E: Event + DeserializeOwned + Send + Sync + 'static,
    {
        let served = Served::event::<E, B>(self.bus.clone(), subscriber.into());
        self.served.push(served);
        self
    }

    /// The name of this service: the attribute `service` of its dead letters. Default: the name of the program.
    pub fn service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.settings.service = service.into();
        self
    }

    /// The number of handlers that may run at a time, of all types together. One handler of each type may always
    /// run. Default: 256.
    pub fn concurrency(mut self, handlers: NonZeroUsize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// Settings of message `M` of its own.
    ///
    /// ```
    /// # use std::{num::NonZeroUsize, time::Duration};
    /// # use static_bus::prelude::*;
    /// # use static_bus_remote::{MemoryBroker, Worker};
    /// # #[derive(serde::Deserialize)]
    /// # struct RenderInvoice;
    /// # command!(RenderInvoice);
    /// # let bus = BusBuilder::new().register_command_fn(|_: RenderInvoice| ()).build();
    /// # let broker = MemoryBroker::new();
    /// let four = NonZeroUsize::new(4).unwrap();
    /// let worker = Worker::new(broker, bus)
    ///     .command::<RenderInvoice>()
    ///     .configure::<RenderInvoice>(|it| it.limit(four).handler_timeout(Duration::from_secs(60)));
    /// ```
    ///
    /// # Panics
    /// If this worker does not serve `M` yet.
    #[track_caller]
    pub fn configure<M: Message>(
        mut self,
        configure: impl Fn(MessageSettings) -> MessageSettings,
    ) -> Self {
        let mut served = self.served.iter_mut().filter(|s| s.message == M::NAME);
        let first = served.next();
        let first = first.unwrap_or_else(|| panic!("{} is not served: add it first", M::NAME));
        for served in std::iter::once(first).chain(served) {
            served.settings = configure(served.settings.clone());
        }
        self
    }

    /// The time after which the messages of a worker that has died go to others. Default: 30 s. A worker
    /// renews its leases while handlers run: a handler may take longer.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.min(LONGEST);
        self
    }

    /// The time for which handled messages are remembered, to recognise duplicates. Default: 10 minutes. With
    /// `None` a message that was sent twice is handled twice.
    pub fn deduplication(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.settings.deduplication = window.into();
        self
    }

    /// The attempts to handle a message whose handler fails.
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.settings.retries = retries.at_least_one();
        self
    }

    /// The longest time for one run of a handler. A handler that takes longer is cancelled, which is a failed attempt.
    /// Default: no limit. Queries also have the deadline of their caller.
    ///
    /// A handler is cancelled where it awaits: one that blocks its thread is not. [`Health::slow_handlers`] names
    /// handlers that run for long.
    ///
    /// # Panics
    /// If it is zero: no handler would ever succeed.
    #[track_caller]
    pub fn handler_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.handler_timeout = settings::not_zero(timeout.into());
        self
    }

    /// The time for the last calls to the broker in a [shutdown](WorkerHandle::shutdown), after its patience with
    /// running handlers. Default: 5 s. Messages that are not settled then, because the broker does not answer, go to
    /// other workers when their leases run out.
    pub fn settle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.settle_timeout = timeout;
        self
    }

    /// Passes on a [header](super::RemoteBus::with_header): what a handler of this worker sends carries the header of the
    /// message that is being handled, if it has one. Default: no header is passed on.
    ///
    /// # Panics
    /// If no header can have this name.
    pub fn inherit_header(mut self, name: impl Into<Box<str>>) -> Self {
        let name = name.into();
        if let Err(error) = check_header(&name) {
            panic!("{error}");
        }
        self.inherited.push(name);
        self
    }

    /// Creates topics and groups where they are missing, and starts to handle messages.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses; the text names it and the remedy. When a message is
    /// served twice for the same group: each of the two would get only some of the messages.
    pub async fn start(self) -> Result<WorkerHandle<T>, TransportError> {
        let Worker {
            transport,
            bus: _,
            mut served,
            inherited,
            settings,
        } = self;
        let inherited: Arc<[Box<str>]> = inherited.into();
        for served in &mut served {
            served.inherited = inherited.clone();
        }
        let mut groups = HashSet::new();
        let mut again = served
            .iter()
            .filter(|s| !groups.insert((&s.topic, &s.group)));
        if let Some(again) = again.next() {
            let reason = format!("{again} is served twice by this worker: say so once");
            let kind = TransportErrorKind::Refused;
            return Err(TransportError::new(kind, transport.address(), reason));
        }
        transport.check().await?;
        let member: Arc<str> = format!("{}-{}", settings.service, Uuid::now_v7()).into();
        let sources = open(&transport, &served, &settings, &member).await?;

        let (drain, draining) = watch::channel(None);
        let shared = settings.concurrency.get().saturating_sub(served.len());
        let slots = Arc::new(Semaphore::new(shared.min(Semaphore::MAX_PERMITS)));
        let (outbound, sending) = Outbound::start(transport.clone());
        let reports = Reports::new(served.iter().map(Served::to_string));
        let mut measured = Vec::new();
        let mut running: Vec<Arc<dyn RunningFor>> = Vec::new();
        let mut lanes = Vec::new();
        for (i, (served, source)) in served.into_iter().zip(sources).enumerate() {
            let context = LaneContext {
                meter: Meter::new(&served),
                settings: served.settings.over(&settings),
                served,
                member: member.clone(),
                slots: slots.clone(),
                outbound: outbound.clone(),
                report: reports.of(i),
                draining: draining.clone(),
            };
            lanes.push(match source {
                Source::Receiver(receiver) => {
                    let begun = Running::new(&context.served, |()| None);
                    running.push(begun.clone());
                    tokio::spawn(QueryLane::new(context, receiver, begun).run())
                }
                Source::Consumer(consumer) => {
                    let consumer = Arc::new(consumer);
                    measured.push((consumer.clone(), BacklogMeter::new(&context.served)));
                    let place = consumer.clone();
                    let begun = Running::new(&context.served, move |receipt| place.place(receipt));
                    running.push(begun.clone());
                    tokio::spawn(Lane::new(context, consumer, begun).run())
                }
            });
        }
        Ok(WorkerHandle {
            lanes,
            sending,
            measuring: tokio::spawn(meter::measure(measured)),
            transport,
            member,
            reports,
            running,
            settings,
            drain,
        })
    }
}

/// The source of a lane: a receiver of queries, or a consumer of commands or events.
enum Source<T: Transport> {
    Receiver(T::Receiver),
    Consumer(T::Consumer),
}

/// Opens the source of each served message, or none. All at once: an engine may need seconds for each.
async fn open<T: Transport>(
    transport: &T,
    served: &[Served],
    settings: &Settings,
    member: &Arc<str>,
) -> Result<Vec<Source<T>>, TransportError> {
    let mut opening = JoinSet::new();
    for (at, served) in served.iter().enumerate() {
        let (transport, topic) = (transport.clone(), served.topic.clone());
        let settings = served.settings.over(settings);
        let subscription = Subscription::new(topic.clone(), served.group.clone(), member.clone())
            .with_lease(settings.lease)
            .with_deduplication(settings.deduplication);
        opening.spawn(async move {
            let source = match topic.kind {
                Kind::Query => transport.listen(topic).await.map(Source::Receiver),
                _ => transport.consume(subscription).await.map(Source::Consumer),
            };
            (at, source)
        });
    }
    let mut opened = opening.join_all().await;
    opened.sort_by_key(|(at, _)| *at);
    let (mut sources, mut failure) = (Vec::with_capacity(opened.len()), None);
    for (_, source) in opened {
        match source {
            Ok(source) => sources.push(source),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let Some(error) = failure else {
        return Ok(sources);
    };
    for source in sources {
        _ = match source {
            Source::Receiver(receiver) => receiver.close().await,
            Source::Consumer(consumer) => consumer.close().await,
        };
    }
    Err(error)
}
