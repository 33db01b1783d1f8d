//! The client: a bus whose handlers are behind a broker.

mod custom;
mod meter;
mod within;

use std::{borrow::Cow, convert::Infallible, env, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use super::{
    Codec, Envelope, Transport, context,
    outbound::Outbound,
    pending::{Answer, Pending, pass_replies},
    per_message::PerMessage,
    time::LONGEST,
    transport::{Due, Kind, Record, Topic, TransportError, TransportErrorKind},
};
use static_bus::asynchronous::{
    AsyncCommandHandler, AsyncEventHandler, AsyncExecuteCommand, AsyncPublishEvent,
    AsyncQueryHandler, AsyncSendQuery, BusError,
};
use static_bus::message::{Command, Event, Message, Query};

use custom::Custom;
use meter::{Meter, Sending};

pub use custom::HeaderError;
pub(crate) use custom::check as check_header;
pub use within::TransactionBus;

/// The number of records in one call of the engine by [`RemoteBus::execute_many`] and
/// [`RemoteBus::publish_many`].
const CHUNK: usize = 1000;

/// A bus whose handlers are behind a broker, in this process or in others.
///
/// It sends every message that implements `serde::Serialize`. It is the bus of a module, or the handler of single
/// messages on a bus of this process:
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
/// // and in another the broker takes the place of the handler.
/// let remote = RemoteBus::connect(broker).await?;
/// let bus = BusBuilder::new().register_query_async::<Double, _>(remote).build();
/// assert_eq!(bus.send_async(Double(21)).await?, 42);
/// # worker.shutdown(std::time::Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
///
/// It is cheap to clone; clones share one connection and one reply channel. The `with_…` methods
/// return a clone with other attributes for its messages, and [`layer`](RemoteBus::layer) the bus within a layer.
///
/// Messages that are sent inside a handler that a [`Worker`](super::Worker) runs carry the correlation and
/// the trace of the message that is being handled.
pub struct RemoteBus<T: Transport> {
    shared: Arc<Shared<T>>,
    timeout: Duration,
    idempotency_key: Option<Arc<str>>,
    trace: Option<(Arc<str>, Option<Arc<str>>)>,
    custom: Custom,
}

struct Shared<T> {
    transport: T,
    service: Arc<str>,
    codec: Codec,
    address: Arc<str>,
    outbound: Outbound,
    pending: Arc<Pending>,
    meters: PerMessage<Meter>,
    /// Closes the reply channel when it is dropped.
    _client: oneshot::Sender<Infallible>,
}

/// The longest idempotency key in bytes. Workers accept a bit more, for the positions of [`RemoteBus::execute_many`].
const LONGEST_IDEMPOTENCY_KEY: usize = 1000;

/// The configuration of a [`RemoteBus`]: `RemoteBus::builder(transport)`, then
/// [`connect`](RemoteBusBuilder::connect).
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

    /// The format of the messages. Default: [`Codec::Json`].
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The time that a query waits for its response. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The number of queries that may wait for their responses at a time. More are refused with
    /// [`BusError::Transport`]. Default: 10,000.
    pub fn max_pending(mut self, max: usize) -> Self {
        self.max_pending = max;
        self
    }

    /// Checks the broker and opens the reply channel.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses; the text names it and the remedy.
    pub async fn connect(self) -> Result<RemoteBus<T>, TransportError> {
        self.transport.check().await?;
        let address: Arc<str> = Uuid::now_v7().to_string().into();
        let topic = Topic {
            kind: Kind::Reply,
            name: Cow::Owned(address.to_string()),
        };
        let replies = self.transport.listen(topic).await?;
        let pending = Arc::new(Pending::new(self.max_pending, self.transport.address()));
        let (client, gone) = oneshot::channel();
        tokio::spawn(pass_replies(replies, pending.receiving(), gone));
        Ok(RemoteBus {
            shared: Arc::new(Shared {
                service: self.service.unwrap_or_else(program),
                codec: self.codec,
                address,
                outbound: Outbound::start(self.transport.clone()).0,
                _client: client,
                pending,
                meters: PerMessage::default(),
                transport: self.transport,
            }),
            timeout: self.timeout,
            idempotency_key: None,
            trace: None,
            custom: Custom::default(),
        })
    }
}

/// The name of the running program.
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

    /// The configuration of a bus on this broker.
    pub fn builder(transport: T) -> RemoteBusBuilder<T> {
        RemoteBusBuilder {
            transport,
            service: None,
            codec: Codec::default(),
            timeout: Duration::from_secs(5),
            max_pending: 10_000,
        }
    }

    /// The same bus with another [timeout](RemoteBusBuilder::timeout).
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        RemoteBus {
            timeout,
            ..self.clone()
        }
    }

    /// The same bus with an idempotency key for its messages: of several commands of one type, or
    /// events of one type, with one key, each group handles one. A key has 1,000 bytes at most; with a longer one, sending
    /// fails.
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

    /// The same bus with a `traceparent` and an optional `tracestate` for its messages, in the format of
    /// [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with_trace(&self, parent: impl Into<Arc<str>>, state: Option<Arc<str>>) -> Self {
        RemoteBus {
            trace: Some((parent.into(), state)),
            ..self.clone()
        }
    }

    /// The same bus with a header for its messages: an extension attribute of CloudEvents. It replaces one of the same
    /// name. A header that is set goes before one that a handler's message [inherits](super::Worker::inherit_header).
    ///
    /// A handler reads it with [`current`](super::current), also when the message is a dead letter that was replayed.
    ///
    /// ```
    /// # use static_bus::prelude::*;
    /// # use static_bus_remote::{MemoryBroker, RemoteBus, Worker, current};
    /// # use serde::{Serialize, Deserialize};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(Serialize, Deserialize)]
    /// struct CountUsers;
    /// query!(CountUsers -> usize);
    ///
    /// let broker = MemoryBroker::new();
    /// let bus = BusBuilder::new()
    ///     .register_query_fn(|_: CountUsers| match current().unwrap().header("tenant") {
    ///         Some("acme") => 2,
    ///         _ => 0,
    ///     })
    ///     .build();
    /// let worker = Worker::new(broker.clone(), bus).query::<CountUsers>().start().await?;
    ///
    /// let remote = RemoteBus::connect(broker).await?.with_header("tenant", "acme")?;
    /// assert_eq!(remote.send_async(CountUsers).await?, 2);
    ///
    /// let error = remote.with_header("tenant-id", "acme").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`tenant-id` cannot be the name of a header: a name is lower-case letters `a` to `z` and digits"
    /// );
    /// # worker.shutdown(std::time::Duration::from_secs(1)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the name has other characters than `a` to `z` and `0` to `9`, is empty, or is that of an attribute which
    /// CloudEvents or this library uses, such as `subject` or `deadline`.
    pub fn with_header(&self, name: &str, value: impl Into<Arc<str>>) -> Result<Self, HeaderError> {
        Ok(RemoteBus {
            custom: self.custom.with(name, value.into())?,
            ..self.clone()
        })
    }

    /// Sends commands in batches. They are accepted in order.
    ///
    /// # Errors
    /// The first error. The others of the batch may have been accepted. With an
    /// [idempotency key](RemoteBus::with_idempotency_key) the same batch can be sent again: the key of each
    /// message is this key with the position of the message.
    pub async fn execute_many<C: Command + Serialize>(
        &self,
        commands: impl IntoIterator<Item = C>,
    ) -> Result<(), BusError> {
        self.append_many(Kind::Command, commands).await
    }

    /// Publishes events in batches. They are accepted in order.
    ///
    /// # Errors
    /// As of [`execute_many`](RemoteBus::execute_many).
    pub async fn publish_many<E: Event + Serialize>(
        &self,
        events: impl IntoIterator<Item = E>,
    ) -> Result<(), BusError> {
        self.append_many(Kind::Event, events).await
    }

    /// Checks that the broker is reachable and accepts requests.
    ///
    /// # Errors
    /// When it cannot be reached or refuses; the text names it and the remedy.
    pub async fn ready(&self) -> Result<(), TransportError> {
        self.shared.transport.check().await
    }

    /// The engine.
    pub fn transport(&self) -> &T {
        &self.shared.transport
    }

    /// The attributes of a message.
    fn envelope<M: Message>(&self, id: Uuid, message: &M) -> Envelope<'_> {
        let Shared { service, codec, .. } = &*self.shared;
        let mut envelope = Envelope::with_id(id, &**service, M::NAME, codec.content_type());
        message.ordering_key(&mut |key| envelope.partition_key = Some(key.to_string().into()));
        envelope.idempotency_key = self.idempotency_key.as_deref().map(Cow::Borrowed);
        if let Some((parent, state)) = &self.trace {
            envelope.trace_parent = Some(Cow::Borrowed(parent));
            envelope.trace_state = state.as_deref().map(Cow::Borrowed);
        }
        self.custom.add_to(&mut envelope);
        context::inherit(&mut envelope);
        envelope
    }

    fn record<M: Message + Serialize>(&self, message: &M) -> Result<Record, BusError> {
        let body = self.encode(message)?;
        Ok(self.envelope(Uuid::now_v7(), message).record(body, None))
    }

    /// # Errors
    /// If the message cannot be encoded, or the idempotency key is too long.
    fn encode<M: Message + Serialize>(&self, message: &M) -> Result<bytes::Bytes, BusError> {
        let length = self.idempotency_key.as_ref().map_or(0, |key| key.len());
        if length > LONGEST_IDEMPOTENCY_KEY {
            let reason = format!(
                "the idempotency key has {length} bytes, and the limit is {LONGEST_IDEMPOTENCY_KEY}: shorten it"
            );
            let (kind, address) = (TransportErrorKind::Refused, self.transport().address());
            return Err(transport_error::<M>(TransportError::new(
                kind, address, reason,
            )));
        }
        let encoded = self.shared.codec.encode(message);
        encoded.map_err(|source| BusError::Codec {
            message: M::NAME,
            source,
        })
    }

    /// Sends a message that is due later.
    pub(crate) async fn append_later<M: Message + Serialize>(
        &self,
        kind: Kind,
        message: M,
        due: Due,
    ) -> Result<(), BusError> {
        let mut record = self.record(&message)?;
        drop(message);
        record.due = Some(due);
        self.append::<M>(kind, record).await
    }

    /// Cancels a message that is not due yet.
    pub(crate) async fn cancel<M: Message>(&self, kind: Kind, key: &str) -> Result<(), BusError> {
        let (transport, topic) = (self.transport(), Topic::of::<M>(kind));
        let scope = context::current_scope();
        let kept = scope.and_then(|scope| transport.keep_cancellation(&scope, &topic, key));
        let cancelled = match kept {
            Some(kept) => kept,
            None => transport.cancel(&topic, key).await.map(drop),
        };
        cancelled.map_err(transport_error::<M>)
    }

    fn meter<M: Message>(&self, kind: Kind) -> Arc<Meter> {
        let meters = &self.shared.meters;
        meters.get::<M>(kind, || Meter::new(M::NAME))
    }

    async fn append<M: Message>(&self, kind: Kind, record: Record) -> Result<(), BusError> {
        let sending = Sending::begin(self.meter::<M>(kind), kind);
        let topic = Topic::of::<M>(kind);
        let appended = match self.shared.transport.keep(&topic, &record) {
            Some(kept) => kept,
            None => self.shared.outbound.append(topic, record).await,
        };
        sending.end(&appended);
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
            let mut envelope = self.envelope(Uuid::now_v7(), &message);
            if let Some(key) = &self.idempotency_key {
                envelope.idempotency_key = Some(format!("{key}/{position}").into());
            }
            Ok((Topic::of::<M>(kind), envelope.record(body, None)))
        };
        loop {
            let mut chunk = messages
                .by_ref()
                .take(CHUNK)
                .map(to_append)
                .collect::<Result<Vec<_>, BusError>>()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let transport = &self.shared.transport;
            let mut results = Vec::with_capacity(chunk.len());
            chunk.retain(|(topic, record)| match transport.keep(topic, record) {
                Some(kept) => {
                    results.push(kept);
                    false
                }
                None => true,
            });
            if !chunk.is_empty() {
                results.extend(transport.append(chunk).await);
            }
            self.meter::<M>(kind).count(&results);
            for result in results {
                result.map_err(transport_error::<M>)?;
            }
        }
    }

    /// The timeout of a query: at most the time left to the caller of the query that is being handled.
    fn time_left(&self) -> Duration {
        let Some(deadline) = context::deadline() else {
            return self.timeout;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.timeout.min(left)
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
        let sending = Sending::begin(self.meter::<Q>(Kind::Query), Kind::Query);
        let id = Uuid::now_v7();
        let mut envelope = self.envelope(id, &query);
        drop(query);
        envelope.reply_to = Some(Cow::Borrowed(&self.shared.address));
        envelope.deadline = Timestamp::now().checked_add(after).ok();
        let mut waiting = pending.expect(id).map_err(transport_error::<Q>)?;
        let refused = waiting.refuse();
        let record = envelope.record(body, Some(after.min(LONGEST)));
        drop(envelope);
        let answer = tokio::time::timeout(after, async {
            let topic = Topic::of::<Q>(Kind::Query);
            match self.shared.transport.keep(&topic, &record) {
                Some(kept) => refused(kept),
                None => outbound.hand_over(topic, record, refused).await,
            }
            waiting.answer().await
        });
        let answer = answer.await;
        let response = match answer {
            Err(_) => Err(BusError::Timeout {
                message: Q::NAME,
                after,
            }),
            Ok(Answer::Refused(error)) if error.kind() == TransportErrorKind::NoReceiver => {
                Err(BusError::NoHandler { message: Q::NAME })
            }
            Ok(Answer::Refused(error)) => Err(transport_error::<Q>(error)),
            Ok(Answer::Reply(reply)) => reply.read::<Q>(),
        };
        sending.end(&response);
        response
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
            custom: self.custom.clone(),
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
