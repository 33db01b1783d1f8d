//! The attempt to handle a message, and its transaction.

use std::sync::{Arc, Mutex};

use sqlx::Error;
use static_bus_remote::{
    lock::lock,
    transport::{Kind, Record, Scope, Topic, TransportError, TransportErrorKind},
};

use super::{CurrentTransaction, Destination, Sent};
use crate::{
    append::check,
    bounds::time_of,
    dialect::Dialect,
    errors::conflict,
    lent::Open,
    store::{Session, Work},
    transport::Shared,
};

/// An attempt to handle a message: the scope of the records that it sends.
pub(crate) struct Attempt<D: Dialect> {
    shared: Arc<Shared<D>>,
    destination: Destination,
    /// The scope that the broker has given, if it is another one.
    _of_broker: Option<Scope>,
    output: Mutex<Output>,
    open: Arc<tokio::sync::Mutex<Option<Open<D>>>>,
}

/// What becomes of the records that an attempt sends.
enum Output {
    /// They are appended at once: no transaction was asked for.
    Appended { any: bool },
    /// They are kept for the transaction.
    Kept(Sent),
    /// The transaction has ended.
    Ended,
}

impl<D: Dialect> Attempt<D> {
    /// The attempt of a handler, which may ask for a transaction.
    pub fn of_a_handler(shared: Arc<Shared<D>>, destination: Destination) -> Self {
        Self::new(shared, destination, Output::Appended { any: false })
    }

    /// An attempt whose records are kept from the beginning.
    pub fn alone(shared: Arc<Shared<D>>, destination: Destination) -> Self {
        Self::new(shared, destination, Output::Kept(Sent::default()))
    }

    fn new(shared: Arc<Shared<D>>, destination: Destination, output: Output) -> Self {
        Attempt {
            shared,
            destination,
            _of_broker: None,
            output: Mutex::new(output),
            open: Arc::default(),
        }
    }

    /// The attempt within the scope of another broker.
    pub fn within(self, scope: Option<Scope>) -> Self {
        Attempt {
            _of_broker: scope,
            ..self
        }
    }

    /// Returns `true` if the transaction was asked for, and has not ended.
    pub fn is_asked_for(&self) -> bool {
        matches!(*lock(&self.output), Output::Kept(_))
    }

    /// Returns `true` if a transaction of this database was asked for, and has not ended.
    pub fn is_in_use(&self, shared: &Shared<D>) -> bool {
        self.is_on(shared) && self.is_asked_for()
    }

    fn is_on(&self, shared: &Shared<D>) -> bool {
        let is_same = |of: fn(&Shared<D>) -> &str| of(&self.shared) == of(shared);
        is_same(|shared| shared.store.address()) && is_same(|shared| &shared.namespace)
    }

    /// The transaction, which begins if it has not.
    pub async fn transaction(&self) -> Result<CurrentTransaction<D>, TransportError> {
        let refused = match &mut *lock(&self.output) {
            output @ Output::Appended { any: false } => {
                *output = Output::Kept(Sent::default());
                None
            }
            Output::Kept(_) => None,
            Output::Appended { any: true } => Some(
                "messages were sent before the transaction: ask for it before the first is sent",
            ),
            Output::Ended => Some("the transaction has ended"),
        };
        let store = &self.shared.store;
        if let Some(reason) = refused {
            return Err(store.error(TransportErrorKind::Refused, reason.to_owned()));
        }
        let open = async {
            let mut open = self.open.clone().lock_owned().await;
            if open.is_none() {
                *open = Some(store.open(true, store.deadline()).await?);
            }
            Ok(CurrentTransaction(open))
        };
        store.in_time(store.deadline(), open).await
    }

    /// The failure of the database that an error in the handler is: its transaction was rolled back for another one, or was
    /// already when the statement began, as in the second subscriber of an event.
    pub fn failure(&self, error: &(dyn std::error::Error + 'static)) -> Option<TransportError> {
        let error = error.downcast_ref().filter(|_| self.is_asked_for())?;
        conflict::<D>(self.shared.store.address(), error)
    }

    /// Keeps a record that the attempt sends through a transport on this database, if a transaction was asked for.
    pub fn keep(
        &self,
        shared: &Shared<D>,
        destination: Destination,
        topic: &Topic,
        record: &Record,
    ) -> Option<Result<(), TransportError>> {
        if !self.is_on(shared) || self.destination != destination {
            return None;
        }
        let is_kept = matches!(topic.kind, Kind::Command | Kind::Event);
        let store = &self.shared.store;
        match &mut *lock(&self.output) {
            Output::Appended { any } => {
                *any |= is_kept;
                None
            }
            Output::Kept(sent) if is_kept => {
                let fits = check(store, topic, record, shared.max_record);
                if fits.is_ok() {
                    let record = Record {
                        scope: None,
                        ..record.clone()
                    };
                    sent.add(topic.clone(), record);
                }
                Some(fits)
            }
            Output::Ended if is_kept => Some(Err(self.ended())),
            Output::Kept(_) if topic.kind == Kind::Query && self.holds_the_broker() => {
                let reason = format!(
                    "{topic} would wait for the transaction that is open in the handler which sends it: send it before the \
                     handler asks for the transaction"
                );
                Some(Err(store.error(TransportErrorKind::Refused, reason)))
            }
            Output::Kept(_) | Output::Ended => None,
        }
    }

    /// Keeps a cancellation that the attempt makes through a transport on this database, if a transaction was asked for.
    pub fn keep_cancellation(
        &self,
        shared: &Shared<D>,
        destination: Destination,
        topic: &Topic,
        key: &str,
    ) -> Option<Result<(), TransportError>> {
        if !self.is_on(shared) || self.destination != destination {
            return None;
        }
        match &mut *lock(&self.output) {
            Output::Appended { any } => {
                *any = true;
                None
            }
            Output::Kept(sent) => {
                sent.cancel(topic, key);
                Some(Ok(()))
            }
            Output::Ended => Some(Err(self.ended())),
        }
    }

    fn ended(&self) -> TransportError {
        let reason = "the transaction of the handler that sends this has ended: await each send in the handler";
        let store = &self.shared.store;
        store.error(TransportErrorKind::Closed, reason.to_owned())
    }

    /// Returns `true` if the broker accepts nothing while the transaction is open.
    fn holds_the_broker(&self) -> bool {
        // If it is locked, it is being opened, or used.
        let is_open = || self.open.try_lock().map_or(true, |open| open.is_some());
        !D::CONCURRENT && self.destination == Destination::Queues && is_open()
    }

    /// Runs `end`, writes what was sent and commits. Returns the output of `end`. If it is `None`, all is rolled back. `None` as well if no
    /// transaction was asked for.
    pub async fn commit<T: Send + 'static>(
        &self,
        end: &impl Work<D, Output = Option<T>>,
    ) -> Result<Option<T>, TransportError> {
        let sent = match &mut *lock(&self.output) {
            output @ Output::Kept(_) => std::mem::replace(output, Output::Ended),
            Output::Appended { .. } | Output::Ended => return Ok(None),
        };
        let Output::Kept(sent) = sent else {
            return Ok(None);
        };
        let Shared { store, wakers, .. } = &*self.shared;
        let destination = self.destination;
        let time = time_of(store.deadline(), sent.size());
        let commit = async {
            let open = self.open.lock().await.take();
            let mut open = match open {
                Some(open) => open,
                None => store.open(true, time).await?,
            };
            let mut session = store.session(&mut open.connection);
            let write = async {
                let Some(output) = end.run(&mut session).await? else {
                    return Ok(None);
                };
                let topics = destination.write(&mut session, sent).await?;
                Ok(Some((output, topics)))
            };
            match write.await {
                Ok(Some(written)) => open.commit().await.map(|()| Some(written)),
                Ok(None) => open.roll_back().await.map(|()| None),
                Err(error) => {
                    open.end();
                    Err(error)
                }
            }
        };
        let committed = store.in_time(time, commit).await?;
        Ok(committed.map(|(output, topics)| {
            topics.into_iter().for_each(|topic| wakers.wake(topic));
            output
        }))
    }

    /// Rolls the transaction back, if one is open. If this fails, the connection is closed, and the database rolls it back.
    pub async fn roll_back(&self) {
        *lock(&self.output) = Output::Ended;
        if let Some(open) = self.open.lock().await.take() {
            let store = &self.shared.store;
            _ = store.in_time(store.deadline(), open.roll_back()).await;
        }
    }
}

/// The end of a transaction that handles no message.
///
/// PostgreSQL confirms the commit of a transaction in which a statement has failed, and rolls it back. A further statement is refused.
pub(crate) struct Always;

impl<D: Dialect> Work<D> for Always {
    type Output = Option<()>;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Option<()>, Error> {
        if D::CONCURRENT {
            session.fetch("select 1", &[]).await?;
        }
        Ok(Some(()))
    }
}
