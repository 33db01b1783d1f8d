//! A message that is served: where it comes from, and what runs when it comes.

use std::{borrow::Cow, error::Error, fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{HANDLERS, topic};
use crate::{
    Codec, context,
    transport::{Kind, Record, Topic},
};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use static_bus::message::{Command, Event, Message, Query};

/// A handler at work; gives the answer's body, which is empty if there is none.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Bytes, BusError>> + Send>>;
/// Reads a record and begins to handle it.
type Begin = dyn Fn(Arc<Record>, Codec) -> Result<Work, Box<dyn Error + Send + Sync>> + Send + Sync;

pub(crate) struct Served {
    pub(super) message: &'static str,
    pub(crate) topic: Topic,
    pub(crate) group: Cow<'static, str>,
    pub(super) limit: usize,
    begin: Box<Begin>,
}

impl Served {
    pub(super) fn query<Q, B>(bus: Arc<B>) -> Self
    where
        B: AsyncSendQuery<Q> + Send + Sync + 'static,
        Q: Query<Response: Serialize + Send> + DeserializeOwned + Send + 'static,
    {
        Self::new::<Q>(Kind::Query, HANDLERS.into(), move |record, codec| {
            let query: Q = codec.decode(&record.body)?;
            let bus = bus.clone();
            let work = async move {
                let response = bus.send_async(query).await?;
                let encoded = codec.encode(&response);
                encoded.map_err(|source| BusError::Codec {
                    message: Q::NAME,
                    source,
                })
            };
            Ok(Box::pin(context::scope(record, work)))
        })
    }

    pub(super) fn command<C, B>(bus: Arc<B>) -> Self
    where
        B: AsyncExecuteCommand<C> + Send + Sync + 'static,
        C: Command + DeserializeOwned + Send + 'static,
    {
        Self::new::<C>(Kind::Command, HANDLERS.into(), move |record, codec| {
            let command: C = codec.decode(&record.body)?;
            let bus = bus.clone();
            let work = async move { bus.execute_async(command).await.map(|()| Bytes::new()) };
            Ok(Box::pin(context::scope(record, work)))
        })
    }

    pub(super) fn event<E, B>(bus: Arc<B>, subscriber: Cow<'static, str>) -> Self
    where
        B: AsyncPublishEvent<E> + Send + Sync + 'static,
        E: Event + DeserializeOwned + Send + Sync + 'static,
    {
        Self::new::<E>(Kind::Event, subscriber, move |record, codec| {
            let event: E = codec.decode(&record.body)?;
            let bus = bus.clone();
            let work = async move { bus.publish_async(&event).await.map(|()| Bytes::new()) };
            Ok(Box::pin(context::scope(record, work)))
        })
    }

    fn new<M: Message>(
        kind: Kind,
        group: Cow<'static, str>,
        begin: impl Fn(Arc<Record>, Codec) -> Result<Work, Box<dyn Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Served {
            message: M::NAME,
            topic: topic::<M>(kind),
            group,
            limit: 64,
            begin: Box::new(begin),
        }
    }

    /// Reads a record and begins to handle it.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(super) fn begin(
        &self,
        record: Arc<Record>,
        codec: Codec,
    ) -> Result<Work, Box<dyn Error + Send + Sync>> {
        (self.begin)(record, codec)
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
