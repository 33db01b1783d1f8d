//! Readers of topics whose calls have to succeed before a deadline.

use std::{sync::Arc, time::Duration};

use super::{DEADLINE, JOINING, id, ids, list, must};
use crate::Sharing;
use static_bus_remote::transport::{Consumer, Delivery, Receiver, Record, TransportError};
use tokio::time::Instant;

/// A record, as a consumer or a receiver returns it.
pub trait HasRecord {
    fn record(&self) -> &Record;
}

impl<R> HasRecord for Delivery<R> {
    fn record(&self) -> &Record {
        &self.record
    }
}

impl HasRecord for Arc<Record> {
    fn record(&self) -> &Record {
        self
    }
}

/// The common part of consumers and receivers.
pub trait Source: Send + Sync + 'static {
    type Received: HasRecord + Send;

    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Self::Received>, TransportError>> + Send;

    fn close(&self) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// A consumer as a source.
pub struct Leased<C>(pub C);

impl<C: Consumer> Source for Leased<C> {
    type Received = Delivery<C::Receipt>;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<C::Receipt>>, TransportError> {
        self.0.receive(max, wait).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.0.close().await
    }
}

/// A receiver as a source.
pub struct AtMostOnce<R>(pub R);

impl<R: Receiver> Source for AtMostOnce<R> {
    type Received = Arc<Record>;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        self.0.receive(max, wait).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.0.close().await
    }
}

/// A reader of a topic of queries or replies.
pub type Listener<R> = Reader<AtMostOnce<R>>;

/// A source whose calls have to succeed before a deadline.
pub struct Reader<S> {
    name: Arc<str>,
    source: S,
    sharing: Sharing,
}

impl<S> Reader<S> {
    pub fn new(name: impl Into<Arc<str>>, source: S, sharing: Sharing) -> Self {
        Reader {
            name: name.into(),
            source,
            sharing,
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// The unit that the readers of the topic share.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }
}

impl<S: Source> Reader<S> {
    pub async fn receive(&self, max: usize, wait: Duration) -> Vec<S::Received> {
        let what = format!("{} receives", self.name);
        let receiving = self.source.receive(max, wait);
        let got = match tokio::time::timeout(wait + DEADLINE, receiving).await {
            Ok(Ok(got)) => got,
            Ok(Err(error)) => panic!("{what}: {error}"),
            Err(_) => panic!("{what}: not done {DEADLINE:?} after the end of its wait"),
        };
        assert!(
            got.len() <= max,
            "{what}: asked for {max}, got {}",
            got.len()
        );
        got
    }

    /// Receives exactly `n` records, in as many calls as it takes.
    pub async fn take(&self, n: usize) -> Vec<S::Received> {
        self.take_within(n, DEADLINE).await
    }

    /// Receives exactly `n` records without a key, and returns them in the order in which they were appended.
    /// Where partitions are shared, that order is not kept, and they are sorted by id.
    pub async fn take_in_order(&self, n: usize) -> Vec<S::Received> {
        let mut got = self.take(n).await;
        if self.sharing == Sharing::Partitions {
            got.sort_by_key(|received| id(received.record()));
        }
        got
    }

    pub async fn take_within(&self, n: usize, deadline: Duration) -> Vec<S::Received> {
        let start = Instant::now();
        let mut got = Vec::new();
        while got.len() < n {
            assert!(
                start.elapsed() < deadline,
                "{}: waited {deadline:?} for {n} records, and {} came",
                self.name,
                match got.len() {
                    0 => String::from("none"),
                    _ => list(ids(&got)),
                }
            );
            got.extend(self.receive(n - got.len(), Duration::from_secs(1)).await);
        }
        got
    }

    /// The ids of the first records that come within `wait`.
    pub async fn first_ids(&self, wait: Duration) -> Vec<usize> {
        let start = Instant::now();
        while let Some(rest) = wait.checked_sub(start.elapsed()) {
            let got = self.receive(10, rest.max(Duration::from_millis(1))).await;
            if !got.is_empty() {
                return ids(&got);
            }
            tokio::task::yield_now().await;
        }
        Vec::new()
    }

    /// Asserts that no record comes within `wait`, plus the time to join where partitions are shared.
    pub async fn receives_nothing(&self, wait: Duration, why: &str) {
        let joining = match self.sharing {
            Sharing::Partitions => JOINING,
            Sharing::Records => Duration::ZERO,
        };
        let came = self.first_ids(joining + wait).await;
        assert!(
            came.is_empty(),
            "{} got {}, though {why}",
            self.name,
            list(came)
        );
    }

    pub async fn close(&self) {
        must(&format!("{} closes", self.name), self.source.close()).await;
    }
}
