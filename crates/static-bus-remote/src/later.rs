//! Messages that are sent now and handled later.

use std::{fmt, sync::Arc};

use serde::Serialize;
use static_bus::{
    asynchronous::{AsyncCommandHandler, AsyncExecuteCommand, BusError},
    key::{Digits, Key, Rest},
    message::{Command, Event, Message},
};

use super::{
    RemoteBus, Transport, TransportError,
    transport::{Due, Kind},
};

/// A command to send message `M` later, or to cancel that.
///
/// A module asks its bus for `AsyncExecuteCommand<Later<M>>`, and the methods of [`SendLater`] make the command. Its
/// process registers a [`Scheduler`] as the handler:
///
/// ```
/// use std::{sync::{Arc, Mutex}, time::Duration};
/// use static_bus::{asynchronous::BusError, prelude::*};
/// use static_bus_remote::{Due, Later, MemoryBroker, RemoteBus, SendLater, Worker};
/// # use serde::{Serialize, Deserialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Place { order: u32 }
/// command!(Place);
/// #[derive(Serialize, Deserialize)]
/// struct Expire { order: u32 }
/// command!(Expire);
///
/// struct Orders;
/// impl<B: AsyncExecuteCommand<Later<Expire>>> AsyncCommandHandler<Place, B> for Orders {
///     async fn handle(&self, Place { order }: Place, bus: &B) -> Result<(), BusError> {
///         let due = Due::after(Duration::from_secs(1800)).with_key(format!("order {order}"));
///         bus.execute_at(Expire { order }, due).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let expired = Arc::new(Mutex::new(Vec::<u32>::new()));
/// let seen = expired.clone();
/// let broker = MemoryBroker::new();
/// let remote = RemoteBus::connect(broker.clone()).await?;
/// let bus = BusBuilder::new()
///     .register_command_async::<Place, _>(Orders)
///     .register_command_async::<Later<Expire>, _>(remote.scheduler()?)
///     .register_command_fn(move |Expire { order }: Expire| seen.lock().unwrap().push(order))
///     .build();
/// let worker = Worker::new(broker, bus).command::<Place>().command::<Expire>().start().await?;
///
/// remote.execute_async(Place { order: 7 }).await?;
/// tokio::time::sleep(Duration::from_secs(1799)).await;
/// assert_eq!(expired.lock().unwrap().len(), 0);
/// tokio::time::sleep(Duration::from_secs(2)).await;
/// assert_eq!(*expired.lock().unwrap(), [7]);
/// # worker.shutdown(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
///
/// A bus without the scheduler does not compile: "no handler is registered for command `Later<Expire>`".
///
/// ```compile_fail,E0277
/// # use std::time::Duration;
/// # use static_bus::{asynchronous::BusError, prelude::*};
/// # use static_bus_remote::{Later, SendLater};
/// # struct Place { order: u32 }
/// # command!(Place);
/// # struct Expire { order: u32 }
/// # command!(Expire);
/// # struct Orders;
/// # impl<B: AsyncExecuteCommand<Later<Expire>>> AsyncCommandHandler<Place, B> for Orders {
/// #     async fn handle(&self, Place { order }: Place, bus: &B) -> Result<(), BusError> {
/// #         bus.execute_at(Expire { order }, Duration::from_secs(1800)).await
/// #     }
/// # }
/// let bus = BusBuilder::new().register_command_async::<Place, _>(Orders).build();
/// ```
///
/// In a test of the module a closure takes the place of the scheduler:
/// `register_command_fn(|later: Later<Expire>| …)`.
///
/// Its [name](Message::NAME) is that of the message and ` later`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later<M> {
    kind: Kind,
    request: Request<M>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request<M> {
    Send(M, Due),
    Cancel(Arc<str>),
}

impl<M> Later<M> {
    /// To execute a command when it is due.
    pub fn execute(command: M, due: impl Into<Due>) -> Self
    where
        M: Command,
    {
        let request = Request::Send(command, due.into());
        let kind = Kind::Command;
        Later { kind, request }
    }

    /// To publish an event when it is due.
    pub fn publish(event: M, due: impl Into<Due>) -> Self
    where
        M: Event,
    {
        let request = Request::Send(event, due.into());
        let kind = Kind::Event;
        Later { kind, request }
    }

    /// To cancel the command with this [key](Due::key), if it is not due yet.
    pub fn cancel_command(key: impl Into<Arc<str>>) -> Self
    where
        M: Command,
    {
        let request = Request::Cancel(key.into());
        let kind = Kind::Command;
        Later { kind, request }
    }

    /// To cancel the event with this [key](Due::key), if it is not due yet.
    pub fn cancel_event(key: impl Into<Arc<str>>) -> Self
    where
        M: Event,
    {
        let request = Request::Cancel(key.into());
        let kind = Kind::Event;
        Later { kind, request }
    }

    pub(crate) fn into_parts(self) -> (Kind, Request<M>) {
        (self.kind, self.request)
    }

    /// The message to send, and when; `None` of a cancellation.
    pub fn message(&self) -> Option<(&M, &Due)> {
        match &self.request {
            Request::Send(message, due) => Some((message, due)),
            Request::Cancel(_) => None,
        }
    }

    /// The key of a cancellation.
    pub fn cancelled(&self) -> Option<&str> {
        match &self.request {
            Request::Send(..) => None,
            Request::Cancel(key) => Some(key),
        }
    }
}

/// The name is made of two texts, at compile time.
impl<M: Message<NameKey: LaterKey>> Message for Later<M> {
    const NAME: &'static str = {
        let (bytes, length) = Self::NAME_BYTES;
        match str::from_utf8(bytes.split_at(*length).0) {
            Ok(name) => name,
            Err(_) => panic!("two texts are a text"),
        }
    };
    type NameKey = <M::NameKey as LaterKey>::Key;
}

impl<M: Message<NameKey: LaterKey>> Command for Later<M> {
    type Output = ();
}

impl<M: Message> Later<M> {
    /// The bytes of the name, and their number.
    const NAME_BYTES: &'static ([u8; 1024], usize) = &{
        let parts = [M::NAME.as_bytes(), b" later"];
        let (mut bytes, mut length, mut part) = ([0; 1024], 0, 0);
        while part < parts.len() {
            let mut at = 0;
            while at < parts[part].len() {
                bytes[length] = parts[part][at];
                length += 1;
                at += 1;
            }
            part += 1;
        }
        (bytes, length)
    };
}

/// The name key of a message, from which that of [`Later`] is made: in the same bucket of the table, with one more digit.
#[doc(hidden)]
pub trait LaterKey {
    type Key: Key;
}
impl<const A: u8, const B: u8, R: Rest> LaterKey for Digits<A, Digits<B, R>>
where
    Digits<0, R>: Rest,
{
    type Key = Digits<A, Digits<B, Digits<0, R>>>;
}

/// The methods of a bus on which messages are sent at a time.
///
/// `due` is a [`Duration`](std::time::Duration), a [`SystemTime`](std::time::SystemTime), or a [`Due`] with a key. See
/// [`Later`] for an example.
///
/// Each method executes a [`Later`]. `Ok` means that the broker has it. The times are those of the broker's clock: a message
/// is not handled before it is due, and at once when it is and a worker has time.
pub trait SendLater {
    /// Executes a command when it is due.
    ///
    /// # Errors
    /// As of [`execute_async`](AsyncExecuteCommand::execute_async).
    fn execute_at<C: Command<NameKey: LaterKey>>(
        &self,
        command: C,
        due: impl Into<Due>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncExecuteCommand<Later<C>>,
    {
        self.execute_async(Later::execute(command, due))
    }

    /// Publishes an event when it is due, to the groups that exist then.
    ///
    /// # Errors
    /// As of [`execute_async`](AsyncExecuteCommand::execute_async).
    fn publish_at<E: Event<NameKey: LaterKey>>(
        &self,
        event: E,
        due: impl Into<Due>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncExecuteCommand<Later<E>>,
    {
        self.execute_async(Later::publish(event, due))
    }

    /// Cancels the command `C` with this [key](Due::key). If it is due already, it is handled all the same.
    ///
    /// # Errors
    /// As of [`execute_async`](AsyncExecuteCommand::execute_async).
    fn cancel_command<C: Command<NameKey: LaterKey>>(
        &self,
        key: impl Into<Arc<str>>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncExecuteCommand<Later<C>>,
    {
        self.execute_async(Later::cancel_command(key))
    }

    /// Cancels the event `E` with this [key](Due::key). If it is due already, it is published all the same.
    ///
    /// # Errors
    /// As of [`execute_async`](AsyncExecuteCommand::execute_async).
    fn cancel_event<E: Event<NameKey: LaterKey>>(
        &self,
        key: impl Into<Arc<str>>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncExecuteCommand<Later<E>>,
    {
        self.execute_async(Later::cancel_event(key))
    }
}
impl<B: ?Sized> SendLater for B {}

/// The handler of [`Later`] that sends messages to a broker, which keeps them until they are due. Made by
/// [`RemoteBus::scheduler`]; it has the attributes of its bus, such as an idempotency key or a header.
pub struct Scheduler<T: Transport>(RemoteBus<T>);

impl<T: Transport> RemoteBus<T> {
    /// The handler of [`Later`] on this bus.
    ///
    /// # Errors
    /// If the broker does not keep messages until they are due, as Kafka without an outbox; the text names the remedy.
    pub fn scheduler(&self) -> Result<Scheduler<T>, TransportError> {
        self.transport().check_scheduling()?;
        Ok(Scheduler(self.clone()))
    }
}

impl<T: Transport> Scheduler<T> {
    pub(crate) fn address(&self) -> &str {
        self.0.transport().address()
    }
}

impl<T, M> AsyncExecuteCommand<Later<M>> for Scheduler<T>
where
    T: Transport,
    M: Message<NameKey: LaterKey> + Serialize + Send,
{
    async fn execute_async(&self, command: Later<M>) -> Result<(), BusError> {
        let Later { kind, request } = command;
        match request {
            Request::Send(message, due) => self.0.append_later(kind, message, due).await,
            Request::Cancel(key) => self.0.cancel::<M>(kind, &key).await,
        }
    }
}

impl<T, M, B> AsyncCommandHandler<Later<M>, B> for Scheduler<T>
where
    T: Transport,
    M: Message<NameKey: LaterKey> + Serialize + Send,
    B: Sync + ?Sized,
{
    async fn handle(&self, command: Later<M>, _: &B) -> Result<(), BusError> {
        self.execute_async(command).await
    }
}

impl<T: Transport> Clone for Scheduler<T> {
    fn clone(&self) -> Self {
        Scheduler(self.0.clone())
    }
}

impl<T: Transport> fmt::Debug for Scheduler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduler").field(&self.0).finish()
    }
}
