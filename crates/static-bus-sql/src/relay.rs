//! The relay: moves the messages of an outbox to their broker.

mod moving;
mod partitions;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use static_bus_remote::{
    lock::lock,
    time::LONGEST,
    transport::{Transport, TransportError},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{dialect::Dialect, outbox::SCHEDULED_LAG, record::duration, transport::Shared};

use moving::{Backlog, Moving};
use partitions::{Join, Leave};

/// Moves the messages of an [`Outbox`](super::Outbox) to its broker; made by [`Outbox::relay`](super::Outbox::relay).
///
/// The outbox has 16 partitions, and the messages of one key are in one of them. A relay holds a partition for the length of a lease and
/// renews it; the partitions are shared evenly among the relays that run, in any number of processes. A message is removed from
/// the outbox when the broker has it. If a relay is killed in between, the next one sends the message again, with the same id.
///
/// A message that the broker refuses holds up those of its partition, and is named in the health: it is not dropped.
///
/// Metrics: the gauges `static_bus_outbox_lag` and `static_bus_outbox_oldest_seconds`, and the counter `static_bus_relayed_total`.
#[must_use = "a relay does nothing until `start`"]
pub struct Relay<T, D: Dialect> {
    broker: T,
    shared: Arc<Shared<D>>,
    lease: Duration,
}

/// A running relay. It stops at once when this is dropped: its partitions go to others when their leases run out.
#[must_use = "a relay that is dropped stops"]
pub struct RelayHandle<D: Dialect> {
    shared: Arc<Shared<D>>,
    reports: Arc<Mutex<Reports>>,
    running: JoinHandle<()>,
    stop: watch::Sender<bool>,
    member: i64,
}

/// The health of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayHealth {
    /// `true` if the relay runs. One that does not has to be started again.
    pub live: bool,
    /// `true` if the relay runs, and the database and the broker accept what it does.
    pub ready: bool,
    /// The reasons why it is not ready, one line each, without secrets.
    pub reasons: Vec<String>,
    /// What an operator should know of the database, one line each: see [`Transport::warnings`]. It is no reason to be not ready.
    pub warnings: Vec<String>,
    /// The number of partitions that this relay holds.
    pub partitions: usize,
    /// The number of messages in the outbox, of all partitions. It is counted up to 100,000.
    pub lag: u64,
    /// The age of the oldest message in the outbox; zero if there is none.
    pub oldest: Duration,
    /// The number of messages that are due later, which are not in `lag`. It is counted up to 100,000.
    pub scheduled: u64,
}

/// What a relay reports.
#[derive(Default)]
struct Reports {
    partitions: usize,
    database: Option<String>,
    /// By partition.
    broker: BTreeMap<i64, String>,
}

impl Reports {
    fn holds(&mut self, partitions: &[i64]) {
        self.partitions = partitions.len();
        self.broker
            .retain(|partition, _| partitions.contains(partition));
    }
}

impl<T: Transport, D: Dialect> Relay<T, D> {
    pub(crate) fn new(broker: T, shared: Arc<Shared<D>>) -> Self {
        Relay {
            broker,
            shared,
            lease: Duration::from_secs(5),
        }
    }

    /// The time after which the partitions of a relay that has died go to others. Default: 5 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(Duration::from_millis(100), LONGEST);
        self
    }

    /// Starts to move messages.
    ///
    /// # Errors
    /// When the database or the broker cannot be reached or refuses; the text names it and the remedy.
    pub async fn start(self) -> Result<RelayHandle<D>, TransportError> {
        let Relay {
            broker,
            shared,
            lease,
        } = self;
        broker.check().await?;
        let member = shared.store.transact(Join(lease)).await?;
        let reports = Arc::<Mutex<Reports>>::default();
        let (stop, stopped) = watch::channel(false);
        let moving = Moving::new(broker, shared.clone(), member, lease, reports.clone());
        Ok(RelayHandle {
            running: tokio::spawn(moving.run(stopped)),
            shared,
            reports,
            stop,
            member,
        })
    }
}

impl<D: Dialect> RelayHandle<D> {
    /// The health of the relay, and the lag of the outbox.
    pub async fn health(&self) -> RelayHealth {
        let backlog = self.shared.store.read(Backlog::QUERY, &[]).await;
        let backlog = backlog.and_then(|rows| self.shared.store.checked(Backlog::of(&rows)));
        let warnings = self.shared.warnings().await;
        let scheduled = self.shared.store.read(SCHEDULED_LAG, &[]).await;
        let live = !self.running.is_finished();
        let reports = lock(&self.reports);
        let mut reasons = Vec::new();
        if !live {
            reasons.push("the relay has stopped".to_owned());
        }
        reasons.extend(reports.database.clone());
        reasons.extend(reports.broker.values().cloned());
        let Backlog { lag, oldest } = backlog.unwrap_or_else(|error| {
            reasons.push(error.to_string());
            Backlog::default()
        });
        let scheduled = scheduled.ok().and_then(|rows| rows.first()?.int(0).ok());
        RelayHealth {
            live,
            ready: reasons.is_empty(),
            reasons,
            warnings,
            partitions: reports.partitions,
            lag: lag.cast_unsigned(),
            oldest: duration(oldest),
            scheduled: scheduled.unwrap_or_default().cast_unsigned(),
        }
    }

    /// Stops the relay when the broker has answered what is under way, and gives its partitions to others.
    ///
    /// # Errors
    /// If the database does not answer: then they go to others when their leases run out.
    pub async fn shutdown(mut self) -> Result<(), TransportError> {
        self.stop.send_replace(true);
        _ = (&mut self.running).await;
        self.shared.store.transact(Leave(self.member)).await
    }
}

impl<D: Dialect> Drop for RelayHandle<D> {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl<T: Transport, D: Dialect> fmt::Debug for Relay<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("broker", &self.broker.address())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> fmt::Debug for RelayHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayHandle")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
