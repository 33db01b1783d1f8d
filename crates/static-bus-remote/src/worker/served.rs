//! A served message: its topic, its group and its handler.

use std::{
    borrow::Cow,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{failure::panic_text, settings::MessageSettings};
use crate::{
    Codec,
    context::{self, Attempt},
    received::Received,
    transport::{Kind, Scope, Topic},
};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use static_bus::message::{Command, Event, Message, Query};

/// The group of all workers that serve a query or a command.
const HANDLERS: &str = "handlers";

/// The future of a handler. Its output is the encoded response of a query, otherwise empty.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Bytes, BusError>> + Send>>;
type Decoded = Result<Work, Box<dyn Error + Send + Sync>>;
type Decode = dyn Fn(Attempt, Codec) -> Decoded + Send + Sync;

/// A message with its handler.
pub(super) struct Served {
    pub(super) message: &'static str,
    pub(super) topic: Topic,
    pub(super) group: Cow<'static, str>,
    pub(super) settings: MessageSettings,
    /// The names of the headers that nested sends inherit.
    pub(super) inherited: Arc<[Box<str>]>,
    decode: Box<Decode>,
}

impl Served {
    pub(super) fn query<Q, B>(bus: Arc<B>) -> Self
    where
        B: AsyncSendQuery<Q> + Send + Sync + 'static,
        Q: Query<Response: Serialize + Send> + DeserializeOwned + Send + 'static,
    {
        Self::new::<Q>(Kind::Query, HANDLERS.into(), move |attempt, codec| {
            let query: Q = codec.decode(&attempt.message.record().body)?;
            let bus = bus.clone();
            let work = async move {
                let response = bus.send_async(query).await?;
                let encoded = codec.encode(&response);
                encoded.map_err(|source| BusError::Codec {
                    message: Q::NAME,
                    source,
                })
            };
            Ok(Box::pin(context::run(attempt, work)))
        })
    }

    pub(super) fn command<C, B>(bus: Arc<B>) -> Self
    where
        B: AsyncExecuteCommand<C> + Send + Sync + 'static,
        C: Command + DeserializeOwned + Send + 'static,
    {
        Self::new::<C>(Kind::Command, HANDLERS.into(), move |attempt, codec| {
            let command: C = codec.decode(&attempt.message.record().body)?;
            let bus = bus.clone();
            let work = async move { bus.execute_async(command).await.map(|()| Bytes::new()) };
            Ok(Box::pin(context::run(attempt, work)))
        })
    }

    pub(super) fn event<E, B>(bus: Arc<B>, subscriber: Cow<'static, str>) -> Self
    where
        B: AsyncPublishEvent<E> + Send + Sync + 'static,
        E: Event + DeserializeOwned + Send + Sync + 'static,
    {
        Self::new::<E>(Kind::Event, subscriber, move |attempt, codec| {
            let event: E = codec.decode(&attempt.message.record().body)?;
            let bus = bus.clone();
            let work = async move { bus.publish_async(&event).await.map(|()| Bytes::new()) };
            Ok(Box::pin(context::run(attempt, work)))
        })
    }

    fn new<M: Message>(
        kind: Kind,
        group: Cow<'static, str>,
        decode: impl Fn(Attempt, Codec) -> Decoded + Send + Sync + 'static,
    ) -> Self {
        Served {
            message: M::NAME,
            topic: Topic::of::<M>(kind),
            group,
            settings: MessageSettings::default(),
            inherited: Arc::default(),
            decode: Box::new(decode),
        }
    }

    /// Decodes a message and creates the future of its handler. Both may panic: they are code of the user.
    ///
    /// # Errors
    /// The reason, when the message cannot be decoded.
    pub(super) fn decode(
        &self,
        message: Arc<Received>,
        codec: Codec,
        scope: Option<Scope>,
    ) -> Result<Work, String> {
        let attempt = Attempt {
            message,
            scope,
            inherited: self.inherited.clone(),
        };
        let decode = || (self.decode)(attempt, codec).map_err(|error| error.to_string());
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(decoded) => decoded,
            Err(panic) => Err(format!("a panic: {}", panic_text(&*panic))),
        }
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served { topic, group, .. } = self;
        match topic.kind {
            Kind::Event => write!(f, "{topic} for {group}"),
            _ => write!(f, "{topic}"),
        }
    }
}
