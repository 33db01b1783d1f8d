//! The presence of receivers: a topic accepts queries until a time that its receivers move ahead.

use std::{sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::{Topic, TransportError};
use tokio::task::AbortHandle;

use super::{
    dialect::Dialect,
    record::as_millis,
    store::{Session, Work},
    topics::topic,
    transport::Shared,
};

/// A topic of replies may have been removed while the database or this process was away, and made again by a reply that was late.
const ANNOUNCE: &str = "insert into {p}topic as t (id, kind, name, accepts_until) values ($1, $2, $3, {now} + $4) \
     on conflict (kind, name) do update set id = excluded.id, accepts_until = \
     case when t.accepts_until > excluded.accepts_until then t.accepts_until else excluded.accepts_until end";

/// Says that a topic has a receiver. Returns the number of the topic.
#[derive(Clone)]
pub(crate) struct Announce {
    pub topic: Topic,
    /// `None` for the first time.
    pub number: Option<i64>,
    pub grace: Duration,
}

impl<D: Dialect> Work<D> for Announce {
    type Output = i64;

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<i64, Error> {
        let number = match self.number {
            Some(number) => number,
            None => topic(session, &self.topic).await?,
        };
        let arguments = [
            number.into(),
            self.topic.kind.as_str().into(),
            (&*self.topic.name).into(),
            as_millis(self.grace).into(),
        ];
        session.fetch(ANNOUNCE, &arguments).await?;
        Ok(number)
    }
}

/// A receiver that is open: a task says so, until this is dropped.
pub(crate) struct Presence {
    announce: Announce,
    task: AbortHandle,
}

impl Presence {
    pub fn enter<D: Dialect>(shared: Arc<Shared<D>>, announce: Announce) -> Self {
        const SHORT: Duration = Duration::from_secs(1);
        let task = tokio::spawn({
            let announce = announce.clone();
            async move {
                let mut pause = announce.grace / 4;
                loop {
                    tokio::time::sleep(pause).await;
                    pause = match shared.store.transact(announce.clone()).await {
                        Ok(_) => announce.grace / 4,
                        Err(_) => SHORT.min(announce.grace / 4),
                    };
                }
            }
        });
        Presence {
            announce,
            task: task.abort_handle(),
        }
    }

    /// The grace time begins.
    pub async fn leave<D: Dialect>(&self, shared: &Shared<D>) -> Result<(), TransportError> {
        self.task.abort();
        shared.store.transact(self.announce.clone()).await.map(drop)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.task.abort();
    }
}
