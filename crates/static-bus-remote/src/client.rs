//! The client: a bus whose handlers are behind a broker.

use std::{borrow::Cow, convert::Infallible, env, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{
    Codec, Envelope, Transport, context,
    outbound::Outbound,
    pending::{Answer, Pending},
    transport::{Kind, Record, Subscription, Topic, TransportError, TransportErrorKind},
};
use static_bus::asynchronous::{
    AsyncCommandHandler, AsyncEventHandler, AsyncExecuteCommand, AsyncPublishEvent,
    AsyncQueryHandler, AsyncSendQuery, BusError,
};
use static_bus::message::{Command, Event, Message, Query};

/// How many records [`RemoteBus::execute_many`] and [`RemoteBus::publish_many`] hand to the engine at
/// a time.
const CHUNK: usize = 1000;

/// A bus whose handlers are behind a broker, in this process or in others.
///
/// It sends every message that can be written with serde. Use it whole, as the bus of a module,
/// or as the handler of single messages on a bus of this process:
///
/// ```
/// # use static_bus::prelude::*;
/// # use static_bus_remote::{MemoryBroker, RemoteBus, Worker};
/// # use serde::{Serialize, Deserialize};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(Serialize, Deserialize)]
/// struct Double(u32);
/// query!(Double -> u32);
///
/// // One process serves the query,
/// let broker = MemoryBroker::new();
/// let bus = BusBuilder::new().register_query_fn(|query: Double| query.0 * 2).build();
/// let worker = Worker::new(broker.clone(), bus).query::<Double>().start().await?;
///
/// // and another has the broker where it had the handler.
/// let remote = RemoteBus::connect(broker).await?;
/// let bus = BusBuilder::new().register_query_async::<Double, _>(remote).build();
/// assert_eq!(bus.send_async(Double(21)).await?, 42);
/// # worker.shutdown(std::time::Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
///
/// It is cheap to clone, and clones share one connection and one reply channel. The `with_…` methods
/// return a clone that differs in what it sends.
///
/// What it sends inside a handler that a [`Worker`](super::Worker) runs carries the correlation and
/// the trace of the message that is being handled.
pub struct RemoteBus<T: Transport> {
    shared: Arc<Shared<T>>,
    timeout: Duration,
    idempotency_key: Option<Arc<str>>,
    trace: Option<(Arc<str>, Option<Arc<str>>)>,
}

struct Shared<T> {
    transport: T,
    service: Arc<str>,
    codec: Codec,
    address: Arc<str>,
    outbound: Outbound,
    pending: Arc<Pending>,
    /// When this is dropped the reply channel is closed.
    _replies: oneshot::Sender<Infallible>,
}

/// How a [`RemoteBus`] is set up: `RemoteBus::builder(transport)`, then [`connect`](RemoteBusBuilder::connect).
#[must_use = "nothing is connected until `connect`"]
pub struct RemoteBusBuilder<T> {
    transport: T,
    service: Option<Arc<str>>,
    codec: Codec,
    timeout: Duration,
    max_pending: usize,
}

impl<T: Transport> RemoteBusBuilder<T> {
    /// The name of this service: the attribute `source` of its messages. Default: the name of the program.
    pub fn service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// The format of what is sent; [`Codec::Json`] without it.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// How long a query waits for its answer; 5 s without it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many queries may wait for their answers at a time; 10,000 without it. More are refused
    /// with [`BusError::Transport`].
    pub fn max_pending(mut self, max: usize) -> Self {
        self.max_pending = max;
        self
    }

    /// Asks the broker whether it is there, and opens the reply channel.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses; the text names it and the remedy.
    pub async fn connect(self) -> Result<RemoteBus<T>, TransportError> {
        self.transport.check().await?;
        let address: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let topic = Topic {
            kind: Kind::Reply,
            name: Cow::Owned(address.to_string()),
        };
        let mut subscription = Subscription::new(topic, "caller", address.clone());
        subscription.deduplication = None;
        let inbox = self.transport.consume(subscription).await?;
        let pending = Arc::new(Pending::new(self.max_pending));
        let (replies, gone) = oneshot::channel();
        tokio::spawn(super::pending::hand_out(inbox, pending.clone(), gone));
        Ok(RemoteBus {
            shared: Arc::new(Shared {
                service: self.service.unwrap_or_else(program),
                codec: self.codec,
                address,
                outbound: Outbound::start(self.transport.clone()).0,
                _replies: replies,
                pending,
                transport: self.transport,
            }),
            timeout: self.timeout,
            idempotency_key: None,
            trace: None,
        })
    }
}

/// The name of the program that is running.
pub(crate) fn program() -> Arc<str> {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem()?.to_str());
    name.unwrap_or("static-bus").into()
}

impl<T: Transport> RemoteBus<T> {
    /// Connects with the defaults of [`builder`](RemoteBus::builder).
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses; the text names it and the remedy.
    pub async fn connect(transport: T) -> Result<Self, TransportError> {
        Self::builder(transport).connect().await
    }

    /// Sets up a bus on this broker.
    pub fn builder(transport: T) -> RemoteBusBuilder<T> {
        RemoteBusBuilder {
            transport,
            service: None,
            codec: Codec::default(),
            timeout: Duration::from_secs(5),
            max_pending: 10_000,
        }
    }

    /// The same bus, with another time that queries wait for their answers.
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        RemoteBus {
            timeout,
            ..self.clone()
        }
    }

    /// The same bus, with an idempotency key for what it sends: of several commands of one type, or
    /// events of one type, with one key, each group handles one.
    ///
    /// ```
    /// # use static_bus::prelude::*;
    /// # use static_bus_remote::{MemoryBroker, RemoteBus};
    /// # use serde::Serialize;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let remote = RemoteBus::connect(MemoryBroker::new()).await?;
    /// #[derive(Serialize)]
    /// struct Pay { invoice: u32 }
    /// command!(Pay);
    ///
    /// remote.with_idempotency_key("invoice 7").execute_async(Pay { invoice: 7 }).await?;
    /// remote.with_idempotency_key("invoice 7").execute_async(Pay { invoice: 7 }).await?; // paid once
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with_idempotency_key(&self, key: impl Into<Arc<str>>) -> Self {
        RemoteBus {
            idempotency_key: Some(key.into()),
            ..self.clone()
        }
    }

    /// The same bus, with a `traceparent` and perhaps a `tracestate` for what it sends, as
    /// [W3C Trace Context](https://www.w3.org/TR/trace-context/) writes them.
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with_trace(&self, parent: impl Into<Arc<str>>, state: Option<Arc<str>>) -> Self {
        RemoteBus {
            trace: Some((parent.into(), state)),
            ..self.clone()
        }
    }

    /// Sends many commands in few round trips. They are accepted in order.
    ///
    /// # Errors
    /// The first error; which of the others the broker has is not known. With an
    /// [idempotency key](RemoteBus::with_idempotency_key) the same batch can be sent again: each of
    /// its messages has the key and its position for a key.
    pub async fn execute_many<C: Command + Serialize>(
        &self,
        commands: impl IntoIterator<Item = C>,
    ) -> Result<(), BusError> {
        self.append_many(Kind::Command, commands).await
    }

    /// Publishes many events in few round trips. They are accepted in order.
    ///
    /// # Errors
    /// As of [`execute_many`](RemoteBus::execute_many).
    pub async fn publish_many<E: Event + Serialize>(
        &self,
        events: impl IntoIterator<Item = E>,
    ) -> Result<(), BusError> {
        self.append_many(Kind::Event, events).await
    }

    /// Whether the broker is there and willing.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), TransportError> {
        self.shared.transport.check().await
    }

    /// The engine underneath.
    pub fn transport(&self) -> &T {
        &self.shared.transport
    }

    /// Everything but the body.
    fn envelope<M: Message>(&self, message: &M) -> Envelope<'_> {
        let Shared { service, codec, .. } = &*self.shared;
        let mut envelope = Envelope::new(&**service, M::NAME, codec.content_type());
        message.ordering_key(&mut |key| envelope.partition_key = Some(key.to_string().into()));
        envelope.idempotency_key = self.idempotency_key.as_deref().map(Cow::Borrowed);
        if let Some((parent, state)) = &self.trace {
            envelope.trace_parent = Some(Cow::Borrowed(parent));
            envelope.trace_state = state.as_deref().map(Cow::Borrowed);
        }
        context::inherit(&mut envelope);
        envelope
    }

    fn record<M: Message + Serialize>(&self, message: &M) -> Result<Record, BusError> {
        let body = self.encode(message)?;
        Ok(self.envelope(message).record(body, None))
    }

    fn encode<M: Message + Serialize>(&self, message: &M) -> Result<bytes::Bytes, BusError> {
        let encoded = self.shared.codec.encode(message);
        encoded.map_err(|source| BusError::Codec {
            message: M::NAME,
            source,
        })
    }

    async fn append<M: Message>(&self, kind: Kind, record: Record) -> Result<(), BusError> {
        let appended = self.shared.outbound.append(topic::<M>(kind), record).await;
        appended.map_err(transport_error::<M>)
    }

    async fn append_many<M: Message + Serialize>(
        &self,
        kind: Kind,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), BusError> {
        let mut messages = messages.into_iter().enumerate();
        let to_append = |(position, message): (usize, M)| {
            let body = self.encode(&message)?;
            let mut envelope = self.envelope(&message);
            if let Some(key) = &self.idempotency_key {
                envelope.idempotency_key = Some(format!("{key}/{position}").into());
            }
            Ok((topic::<M>(kind), envelope.record(body, None)))
        };
        loop {
            let chunk = messages
                .by_ref()
                .take(CHUNK)
                .map(to_append)
                .collect::<Result<Vec<_>, BusError>>()?;
            if chunk.is_empty() {
                return Ok(());
            }
            for result in self.shared.transport.append(chunk).await {
                result.map_err(transport_error::<M>)?;
            }
        }
    }

    /// How long a query may take: what is left to the caller of the query that is being handled, at
    /// most.
    fn time_left(&self) -> Duration {
        let Some(deadline) = context::deadline() else {
            return self.timeout;
        };
        let left = deadline.duration_since(Timestamp::now());
        self.timeout.min(left.try_into().unwrap_or_default())
    }

    async fn ask<Q: Query + Serialize>(&self, query: Q) -> Result<Q::Response, BusError>
    where
        Q::Response: DeserializeOwned,
    {
        let Shared {
            pending, outbound, ..
        } = &*self.shared;
        let after = self.time_left();
        let body = self.encode(&query)?;
        let mut envelope = self.envelope(&query);
        drop(query);
        envelope.reply_to = Some(Cow::Borrowed(&self.shared.address));
        envelope.deadline = Timestamp::now().checked_add(after).ok();
        let mut waiting = pending
            .expect(&envelope.id)
            .ok_or_else(|| transport_error::<Q>(self.too_many_pending()))?;
        let refused = waiting.refuse();
        let record = envelope.record(body, Some(after));
        drop(envelope);
        let answer = tokio::time::timeout(after, async {
            let topic = topic::<Q>(Kind::Query);
            outbound.hand_over(topic, record, refused).await;
            waiting.answer().await
        });
        let answer = answer.await;
        match answer {
            Err(_) => Err(BusError::Timeout {
                message: Q::NAME,
                after,
            }),
            Ok(Answer::Refused(error)) => Err(transport_error::<Q>(error)),
            Ok(Answer::Reply(record)) => super::reply::read::<Q>(&record),
        }
    }

    fn too_many_pending(&self) -> TransportError {
        let max = self.shared.pending.max();
        let text = format!(
            "{max} queries wait for their answers already: send fewer at a time, or raise `max_pending`"
        );
        // Answers and timeouts make room again.
        let kind = TransportErrorKind::Unreachable;
        TransportError::new(kind, self.shared.transport.address(), text)
    }
}

/// Where messages of this type go.
pub(crate) fn topic<M: Message>(kind: Kind) -> Topic {
    Topic {
        kind,
        name: Cow::Borrowed(M::NAME),
    }
}

fn transport_error<M: Message>(error: TransportError) -> BusError {
    BusError::Transport {
        message: M::NAME,
        source: error.into(),
    }
}

impl<T: Transport> Clone for RemoteBus<T> {
    fn clone(&self) -> Self {
        RemoteBus {
            shared: self.shared.clone(),
            timeout: self.timeout,
            idempotency_key: self.idempotency_key.clone(),
            trace: self.trace.clone(),
        }
    }
}
impl<T: Transport> std::fmt::Debug for RemoteBus<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteBus")
            .field("broker", &self.shared.transport.address())
            .field("service", &self.shared.service)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, Q> AsyncSendQuery<Q> for RemoteBus<T>
where
    Q: Query<Response: DeserializeOwned + Send> + Serialize + Send,
{
    async fn send_async(&self, query: Q) -> Result<Q::Response, BusError> {
        self.ask(query).await
    }
}
impl<T: Transport, C: Command + Serialize + Send> AsyncExecuteCommand<C> for RemoteBus<T> {
    async fn execute_async(&self, command: C) -> Result<(), BusError> {
        let record = self.record(&command)?;
        drop(command);
        self.append::<C>(Kind::Command, record).await
    }
}
impl<T: Transport, E: Event + Serialize + Sync> AsyncPublishEvent<E> for RemoteBus<T> {
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        let record = self.record(event)?;
        self.append::<E>(Kind::Event, record).await
    }
}

impl<T: Transport, Q, B: ?Sized + Sync> AsyncQueryHandler<Q, B> for RemoteBus<T>
where
    Q: Query<Response: DeserializeOwned + Send> + Serialize + Send,
{
    async fn handle(&self, query: Q, _: &B) -> Result<Q::Response, BusError> {
        self.ask(query).await
    }
}
impl<T: Transport, C, B: ?Sized + Sync> AsyncCommandHandler<C, B> for RemoteBus<T>
where
    C: Command + Serialize + Send,
{
    async fn handle(&self, command: C, _: &B) -> Result<(), BusError> {
        self.execute_async(command).await
    }
}
impl<T: Transport, E, B: ?Sized + Sync> AsyncEventHandler<E, B> for RemoteBus<T>
where
    E: Event + Serialize + Sync,
{
    async fn handle(&self, event: &E, _: &B) -> Result<(), BusError> {
        self.publish_async(event).await
    }
}
