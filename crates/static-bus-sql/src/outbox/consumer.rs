//! Consumers of another broker, whose handlers may ask for a transaction.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::{
    Backlog, Claim, Consumer, Delivery, Lease, Scope, Subscription, Transport, TransportError,
    TransportErrorKind,
};

use crate::{
    dialect::Dialect,
    inbox::{Attempt, Destination},
    list,
    record::as_millis,
    store::{Session, Work},
    transport::Shared,
};

/// Returns nothing of a key that is remembered.
const REMEMBER: &str = "insert into {p}inbox as i (consumer, key, until) select $1, {hex}, {now} + $2 from {each $3} \
     where true on conflict (consumer, key) do update set until = excluded.until where i.until <= {now} returning key";

/// More than are added, so that all are removed in the end. Keys that another transaction is remembering are left out. It waits for none.
const FORGET: &str = "with old as materialized \
     (select consumer, key from {p}inbox where until <= {now} order by until limit 10 {skip}) \
     delete from {p}inbox where (consumer, key) in (select consumer, key from old)";

/// A member of a group at the broker of an [`Outbox`](super::Outbox).
pub struct OutboxConsumer<C, D: Dialect> {
    consumer: C,
    shared: Arc<Shared<D>>,
    /// The topic and the group.
    name: String,
    deduplication: Option<Duration>,
}

impl<C: Consumer, D: Dialect> OutboxConsumer<C, D> {
    pub(super) async fn join<T: Transport<Consumer = C>>(
        broker: &T,
        shared: Arc<Shared<D>>,
        subscription: Subscription,
    ) -> Result<Self, TransportError> {
        Ok(OutboxConsumer {
            name: format!("{} for {}", subscription.topic, subscription.group),
            deduplication: subscription.deduplication,
            consumer: broker.consume(subscription).await?,
            shared,
        })
    }
}

impl<C: Consumer, D: Dialect> Consumer for OutboxConsumer<C, D> {
    type Receipt = C::Receipt;

    const FINISHES: bool = true;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<C::Receipt>>, TransportError> {
        self.consumer.receive(max, wait).await
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        self.consumer.claim(keys).await
    }

    async fn acknowledge(&self, leases: &[Lease<C::Receipt>]) -> Result<(), TransportError> {
        self.consumer.acknowledge(leases).await
    }

    fn place(&self, receipt: &C::Receipt) -> Option<String> {
        self.consumer.place(receipt)
    }

    fn begin(&self, receipt: &C::Receipt) -> Option<Scope> {
        let of_broker = self.consumer.begin(receipt);
        let attempt = Attempt::of_a_handler(self.shared.clone(), Destination::Outbox);
        Some(Scope::new(attempt.within(of_broker)))
    }

    async fn finish(&self, lease: &Lease<C::Receipt>, scope: &Scope) -> Result<(), TransportError> {
        let Some(attempt) = scope
            .get::<Attempt<D>>()
            .filter(|attempt| attempt.is_asked_for())
        else {
            return Ok(());
        };
        let (Some(key), Some(kept)) = (&lease.claim, self.deduplication) else {
            let reason = format!(
                "{}: handling in a transaction needs deduplication: set `Worker::deduplication`",
                self.name
            );
            return Err(self.shared.store.error(TransportErrorKind::Refused, reason));
        };
        let remember = Remember {
            consumer: self.name.clone(),
            key: key.clone(),
            kept: as_millis(kept),
        };
        attempt.commit(&remember).await.map(drop)
    }

    fn failure(
        &self,
        scope: &Scope,
        error: &(dyn std::error::Error + 'static),
    ) -> Option<TransportError> {
        scope.get::<Attempt<D>>()?.failure(error)
    }

    async fn renew(&self, leases: &[Lease<C::Receipt>]) -> Result<(), TransportError> {
        self.consumer.renew(leases).await
    }

    async fn release(&self, leases: &[Lease<C::Receipt>]) -> Result<(), TransportError> {
        self.consumer.release(leases).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.consumer.close().await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.consumer.backlog().await
    }
}

impl<C, D: Dialect> fmt::Debug for OutboxConsumer<C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxConsumer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Remembers a deduplication key. The output is `None` if it is remembered already.
struct Remember {
    consumer: String,
    key: Arc<str>,
    kept: i64,
}

impl<D: Dialect> Work<D> for Remember {
    type Output = Option<()>;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Option<()>, Error> {
        session.fetch(FORGET, &[]).await?;
        let key = list::bytes([self.key.as_bytes()]);
        let arguments = [(&self.consumer).into(), self.kept.into(), (&key).into()];
        let remembered = session.fetch(REMEMBER, &arguments).await?;
        Ok((!remembered.is_empty()).then_some(()))
    }
}
