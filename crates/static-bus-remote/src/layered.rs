//! A client within layers.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use super::{RemoteBus, Scheduler, Transport, lock::lock, per_message::PerMessage, transport};
use static_bus::asynchronous::{
    AsyncCommandHandler, AsyncEventHandler, AsyncExecuteCommand, AsyncPublishEvent,
    AsyncQueryHandler, AsyncSendQuery, BusError,
};
use static_bus::layer::{
    AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, Layer, NextCommand, NextEvent,
    NextQuery,
};
use static_bus::message::{Command, Event, Message, Query};
use static_bus::wiring::{Kind, Registration};

/// A [`RemoteBus`] or a [`Scheduler`] within a [layer](static_bus::layer), made by [`RemoteBus::layer`] or
/// [`Scheduler::layer`].
///
/// Each message that is sent one by one passes the layer. What the layer puts around a message is made when the first
/// one of its type is sent, and kept; the `handler` of its [`Registration`] is the address of the broker.
///
/// Messages that the layer itself sends go to the client within it, and do not pass the layer again. If the client is
/// registered as a handler, they go to the bus that dispatched the message. Batches (`execute_many`, `publish_many`) are
/// sent with [`inner`](LayeredRemote::inner), and pass no layer.
///
/// ```
/// # use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// # use static_bus::{asynchronous::BusError, layer::*, prelude::*, wiring::Registration};
/// # use static_bus_remote::{MemoryBroker, RemoteBus, Worker};
/// # use serde::{Serialize, Deserialize};
/// /// Sends a query again after an error that may pass.
/// struct Again;
/// impl Layer for Again {
///     type Around = Again;
///     fn around(&self, registration: Registration) -> Again {
///         assert_eq!(registration.handler, "memory");
///         Again
///     }
/// }
/// impl<Q: Query<Response: Send> + Clone + Send + Sync, B: ?Sized> AsyncAroundQuery<Q, B> for Again {
///     async fn query(&self, query: Q, _bus: &B, next: impl NextQuery<Q>) -> Result<Q::Response, BusError> {
///         match next.run(query.clone()).await {
///             Err(error) if error.is_retryable() => next.run(query).await,
///             answer => answer,
///         }
///     }
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Double(u32);
/// query!(Double -> u32);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # static TIMES: AtomicU32 = AtomicU32::new(0);
/// # let broker = MemoryBroker::new();
/// # let bus = BusBuilder::new()
/// #     .register_query_async_fn(|query: Double| async move {
/// #         if TIMES.fetch_add(1, Relaxed) == 0 { return Err(BusError::rejected::<Double>("once")) }
/// #         Ok(query.0 * 2)
/// #     })
/// #     .build();
/// # let worker = Worker::new(broker.clone(), bus).query::<Double>().start().await?;
/// let remote = RemoteBus::connect(broker).await?.layer(Again);
/// assert_eq!(remote.send_async(Double(21)).await?, 42);
///
/// let bus = BusBuilder::new().register_query_async::<Double, _>(remote).build();
/// assert_eq!(bus.send_async(Double(21)).await?, 42);
/// # worker.shutdown(std::time::Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
pub struct LayeredRemote<R, L: Layer> {
    remote: R,
    name: &'static str,
    layer: Arc<Shared<L>>,
}

struct Shared<L: Layer> {
    layer: L,
    arounds: PerMessage<L::Around>,
}

impl<T: Transport> RemoteBus<T> {
    /// This bus within a layer. The layer added last is the outermost.
    pub fn layer<L: Layer>(self, layer: L) -> LayeredRemote<Self, L> {
        let name = interned(self.transport().address());
        LayeredRemote::new(self, name, layer)
    }
}

impl<T: Transport> Scheduler<T> {
    /// This scheduler within a layer, which each [`Later`](crate::Later) passes when it is sent.
    pub fn layer<L: Layer>(self, layer: L) -> LayeredRemote<Self, L> {
        let name = interned(self.address());
        LayeredRemote::new(self, name, layer)
    }
}

impl<R, L: Layer> LayeredRemote<R, L> {
    fn new(remote: R, name: &'static str, layer: L) -> Self {
        let arounds = PerMessage::default();
        LayeredRemote {
            remote,
            name,
            layer: Arc::new(Shared { layer, arounds }),
        }
    }

    /// This bus within another layer, which is the outermost.
    pub fn layer<N: Layer>(self, layer: N) -> LayeredRemote<Self, N> {
        let name = self.name;
        LayeredRemote::new(self, name, layer)
    }

    /// The same bus with other attributes for its messages:
    /// `bus.with(|remote| remote.with_idempotency_key("invoice 7"))`.
    #[must_use = "this returns a bus and leaves the old one as it is"]
    pub fn with(&self, change: impl FnOnce(&R) -> R) -> Self {
        LayeredRemote {
            remote: change(&self.remote),
            name: self.name,
            layer: self.layer.clone(),
        }
    }

    /// The bus without the layer.
    pub fn inner(&self) -> &R {
        &self.remote
    }

    fn around<M: Message>(&self, kind: Kind) -> Arc<L::Around> {
        let key = match kind {
            Kind::Query => transport::Kind::Query,
            Kind::Command => transport::Kind::Command,
            Kind::Event => transport::Kind::Event,
        };
        let Shared { layer, arounds } = &*self.layer;
        arounds.get::<M>(key, || {
            layer.around(Registration::remote::<M>(kind, self.name))
        })
    }
}

/// The same text for the rest of the process. A process has few brokers.
fn interned(address: &str) -> &'static str {
    static ADDRESSES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut addresses = lock(&ADDRESSES);
    let addresses = addresses.get_or_insert_default();
    if let Some(known) = addresses.get(address) {
        return known;
    }
    let address: &'static str = Box::leak(address.into());
    addresses.insert(address);
    address
}

impl<R: Clone, L: Layer> Clone for LayeredRemote<R, L> {
    fn clone(&self) -> Self {
        self.with(R::clone)
    }
}
impl<R: std::fmt::Debug, L: Layer> std::fmt::Debug for LayeredRemote<R, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayeredRemote")
            .field("remote", &self.remote)
            .field("layer", &std::any::type_name::<L>())
            .finish()
    }
}

/// What is within the layer of a bus.
struct Sent<'r, R>(&'r R);
/// What is within the layer of a handler, and the bus that it receives.
struct Handled<'r, 'b, R, B: ?Sized>(&'r R, &'b B);

/// The impls for one kind of message.
macro_rules! kind {
    (
        $M:ident: $Kind:ident $(+ $Auto:ident)*, $Send:ident $send:ident, $Handler:ident, $Around:ident $around:ident, $Next:ident,
        $message:ident: $Message:ty => $Output:ty
    ) => {
        impl<$M: $Kind, R: $Send<$M>> $Next<$M> for Sent<'_, R>
        {
            fn run(&self, $message: $Message) -> impl Future<Output = Result<$Output, BusError>> + Send {
                self.0.$send($message)
            }
        }
        impl<$M, R, B> $Next<$M> for Handled<'_, '_, R, B>
        where
            $M: $Kind,
            R: $Handler<$M, B> + Sync,
            B: Sync + ?Sized,
        {
            fn run(&self, $message: $Message) -> impl Future<Output = Result<$Output, BusError>> + Send {
                self.0.handle($message, self.1)
            }
        }
        impl<$M, R, L> $Send<$M> for LayeredRemote<R, L>
        where
            $M: $Kind $(+ $Auto)*,
            R: $Send<$M>,
            L: Layer<Around: $Around<$M, R> + Send + Sync> + Send + Sync,
        {
            async fn $send(&self, $message: $Message) -> Result<$Output, BusError> {
                let around = self.around::<$M>(Kind::$Kind);
                let next = Sent(&self.remote);
                around.$around($message, &self.remote, next).await
            }
        }
        impl<$M, R, L, B> $Handler<$M, B> for LayeredRemote<R, L>
        where
            $M: $Kind $(+ $Auto)*,
            R: $Handler<$M, B> + Sync,
            L: Layer<Around: $Around<$M, B> + Send + Sync> + Send + Sync,
            B: ?Sized,
        {
            async fn handle(&self, $message: $Message, bus: &B) -> Result<$Output, BusError>
            where
                B: Sync,
            {
                let around = self.around::<$M>(Kind::$Kind);
                let next = Handled(&self.remote, bus);
                around.$around($message, bus, next).await
            }
        }
    };
}
kind!(
    Q: Query + Send, AsyncSendQuery send_async, AsyncQueryHandler, AsyncAroundQuery query, NextQuery,
    query: Q => Q::Response
);
kind!(
    C: Command + Send, AsyncExecuteCommand execute_async, AsyncCommandHandler, AsyncAroundCommand command, NextCommand,
    command: C => ()
);
kind!(
    E: Event + Sync, AsyncPublishEvent publish_async, AsyncEventHandler, AsyncAroundEvent event, NextEvent,
    event: &E => ()
);
