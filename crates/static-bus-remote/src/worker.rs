//! The worker: serves messages that come from a broker with the handlers of a bus in this process.

mod health;
mod intake;
mod item;
mod lane;
mod leases;
mod meter;
mod serve;

use std::{borrow::Cow, collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};
use uuid::Uuid;

use super::{
    RetryPolicy, Transport, TransportError, TransportErrorKind,
    client::topic,
    outbound::Outbound,
    transport::{Consumer, Subscription},
};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery};
use static_bus::message::{Command, Event, Message, Query};

pub use health::Health;
use health::Reports;
pub(crate) use item::Item;
use lane::{Ended, Lane};
pub(crate) use serve::Served;

/// The group of all that serve a query or a command.
const HANDLERS: &str = "handlers";

/// Serves a list of messages from a broker with the handlers of a bus in this process.
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
///     .event::<OrderCreated>("inventory") // a name of its own, the same whenever this service starts
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
/// succeeded. One that fails comes again, as [`RetryPolicy`] say, and then becomes a
/// [dead letter](super::DeadLetters). So does, at once, one that cannot be read or that is
/// [refused](static_bus::asynchronous::BusError::refused). Duplicates are recognised by their id or
/// idempotency key. Messages with an ordering key are handled one after the other.
///
/// Each type of message has its own connection and its own room, so that none waits for another.
#[must_use = "a worker does nothing until `start`"]
pub struct Worker<T: Transport, B> {
    transport: T,
    bus: Arc<B>,
    served: Vec<Served>,
    settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    service: Arc<str>,
    concurrency: NonZeroUsize,
    lease: Duration,
    deduplication: Option<Duration>,
    retries: RetryPolicy,
}

impl<T: Transport, B: Send + Sync + 'static> Worker<T, B> {
    /// A worker that serves nothing yet.
    pub fn new(transport: T, bus: B) -> Self {
        Self::shared(transport, Arc::new(bus))
    }

    /// A worker on a bus that others use as well.
    pub fn shared(transport: T, bus: Arc<B>) -> Self {
        Worker {
            transport,
            bus,
            served: Vec::new(),
            settings: Settings {
                service: super::client::program(),
                concurrency: const { NonZeroUsize::new(256).unwrap() },
                lease: Duration::from_secs(30),
                deduplication: Some(Duration::from_secs(600)),
                retries: RetryPolicy::default(),
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

    /// Serves event `E` as a subscriber of this name.
    ///
    /// Each subscriber gets every event that is published after it was first started, also
    /// while none of its workers runs. The name is how the broker knows it again: keep it
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

    /// The name of this service: the attribute `source` of its replies and dead letters. Default: the name of the
    /// program.
    pub fn service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.settings.service = service.into();
        self
    }

    /// How many handlers may run at a time, of all types together; 256 without it. Each type may
    /// run one, however busy the others are.
    pub fn concurrency(mut self, handlers: NonZeroUsize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// How many handlers of message `M` may run at a time; 64 without it.
    ///
    /// # Panics
    /// If `M` is not among what this worker serves, so far.
    pub fn limit<M: Message>(mut self, handlers: NonZeroUsize) -> Self {
        let mut served = self.served.iter_mut().filter(|s| s.message == M::NAME);
        let first = served.next();
        let first = first.unwrap_or_else(|| panic!("{} is not served: add it first", M::NAME));
        for served in std::iter::once(first).chain(served) {
            served.limit = handlers.get();
        }
        self
    }

    /// How long a message is left to a worker that gives no sign of life; 30 s without it. A worker
    /// renews the lease while a handler runs, so handlers may take longer.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long handled messages are remembered, to recognise duplicates; 10 minutes without it. With
    /// `None` a message that was sent twice is handled twice.
    pub fn deduplication(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.settings.deduplication = window.into();
        self
    }

    /// How messages are tried again whose handler fails.
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.settings.retries = RetryPolicy {
            max_attempts: retries.max_attempts.max(1),
            ..retries
        };
        self
    }

    /// Creates topics and groups where they are missing, and begins to serve.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses; the text names it and the remedy. When a message is
    /// served twice for the same group: each handler would get only some of the messages.
    pub async fn start(self) -> Result<WorkerHandle<T>, TransportError> {
        let Worker {
            transport,
            bus: _,
            served,
            settings,
        } = self;
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
        let member: Arc<str> = Uuid::now_v7().to_string().into();
        let mut consumers = Vec::with_capacity(served.len());
        for served in &served {
            let mut subscription =
                Subscription::new(served.topic.clone(), served.group.clone(), member.clone());
            subscription.lease = settings.lease;
            subscription.deduplication = settings.deduplication;
            match transport.consume(subscription).await {
                Ok(consumer) => consumers.push(Arc::new(consumer)),
                Err(error) => {
                    for consumer in consumers {
                        _ = consumer.close().await;
                    }
                    return Err(error);
                }
            }
        }

        let (drain, draining) = watch::channel(None);
        let shared = settings.concurrency.get().saturating_sub(served.len());
        let slots = Arc::new(Semaphore::new(shared));
        let (outbound, sending) = Outbound::start(transport.clone());
        let reports = Reports::new(served.iter().map(Served::to_string));
        let meters = served.iter().map(meter::Meter::new).collect::<Vec<_>>();
        let watched = consumers.iter().cloned().zip(meters.clone()).collect();
        let lanes = served.into_iter().zip(consumers).zip(meters).enumerate();
        let lanes = lanes.map(|(i, ((served, consumer), meter))| {
            let lane = Lane::new(lane::Surroundings {
                consumer,
                served,
                meter,
                settings: settings.clone(),
                member: member.clone(),
                slots: slots.clone(),
                outbound: outbound.clone(),
                report: reports.of(i),
                draining: draining.clone(),
            });
            tokio::spawn(lane.run())
        });
        Ok(WorkerHandle {
            lanes: lanes.collect(),
            sending,
            measuring: tokio::spawn(meter::measure(watched)),
            transport,
            reports,
            drain,
        })
    }
}

/// A worker that serves. Dropping it stops it at once: handlers that run are cancelled, and what
/// they had is handled by another worker when its lease runs out.
#[must_use = "a worker that is dropped stops"]
pub struct WorkerHandle<T> {
    transport: T,
    lanes: Vec<JoinHandle<Ended>>,
    /// It ends when the lanes have ended and what they sent has left.
    sending: JoinHandle<()>,
    measuring: JoinHandle<()>,
    reports: Reports,
    drain: watch::Sender<Option<Instant>>,
}

/// What a worker left when it was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Handlers that ran and ended before the deadline.
    pub finished: usize,
    /// Handlers that were cancelled at the deadline. Their messages were given back.
    pub cancelled: usize,
    /// Messages that were given back and not begun.
    pub released: usize,
}

impl<T: Transport> WorkerHandle<T> {
    /// Whether the worker lives and whether it is ready, with reasons.
    pub async fn health(&self) -> Health {
        let broker = self.transport.check().await;
        let alive = self.lanes.iter().all(|lane| !lane.is_finished());
        self.reports.health(alive, broker.err())
    }

    /// Stops: fetches nothing more, lets the handlers that run finish until `patience` is over, and
    /// gives everything else back to the broker, for another worker to handle at once.
    pub async fn shutdown(mut self, patience: Duration) -> ShutdownReport {
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        self.drain
            .send_replace(Some(Instant::now() + patience.min(FAR)));
        let mut total = ShutdownReport::default();
        for lane in &mut self.lanes {
            if let Ok(ended) = lane.await {
                total.finished += ended.finished;
                total.cancelled += ended.cancelled;
                total.released += ended.released;
            }
        }
        _ = tokio::time::timeout(lane::FAREWELL, &mut self.sending).await;
        total
    }
}
impl<T> Drop for WorkerHandle<T> {
    fn drop(&mut self) {
        self.measuring.abort();
        for lane in &self.lanes {
            lane.abort();
        }
    }
}
