//! The topic of the deduplication keys of a group.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    admin::{AdminOptions, AlterConfig, ConfigEntry, ConfigSource, ResourceSpecifier},
    error::KafkaError,
    producer::{DeliveryFuture, FutureRecord},
};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{entry::Entry, table::Table};
use crate::{cluster::Cluster, names::claims_name, topics::MAX_MESSAGE_BYTES, writer::BATCH_BYTES};
use static_bus_remote::{
    time::millis,
    transport::{Subscription, TransportError},
};

/// The shortest retention of the topic in milliseconds.
const MIN_RETENTION_MS: u64 = 600_000;
/// The shortest time in milliseconds after which a segment of the topic is closed.
const MIN_SEGMENT_MS: u64 = 60_000;

/// The smallest limit for batches of the topic: that of a batch of the writer, and of one entry.
const MIN_BATCH_BYTES: usize = 2 * BATCH_BYTES;

/// The delay before a changed configuration is read again.
const CHANGE_DELAY: Duration = Duration::from_millis(20);

/// The log of a group's claims.
pub(crate) struct Log {
    name: Arc<str>,
    cluster: Arc<Cluster>,
    /// The retention in milliseconds that the members need.
    needed: u64,
    runtime: Handle,
    /// `true` while the topic is looked up in the background.
    is_restoring: AtomicBool,
}

impl Log {
    pub fn new(cluster: &Arc<Cluster>, subscription: &Subscription) -> Arc<Self> {
        let Subscription {
            topic,
            group,
            lease,
            deduplication,
            ..
        } = subscription;
        let deduplication = deduplication.unwrap_or_default();
        Arc::new(Log {
            name: claims_name(cluster.settings().namespace(), topic, group).into(),
            cluster: cluster.clone(),
            needed: Table::reach(millis(*lease), millis(deduplication)),
            runtime: Handle::current(),
            is_restoring: AtomicBool::new(false),
        })
    }

    /// Opens the log. Creates the topic if it is missing, and raises its retention and its limit for batches if they are
    /// too small.
    pub async fn open(&self) -> Result<(), TransportError> {
        let retention = self.needed.saturating_mul(2).max(MIN_RETENTION_MS);
        let retention = retention.to_string();
        let segment = (self.needed / 2).max(MIN_SEGMENT_MS).to_string();
        let config = [
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", &*retention),
            ("segment.ms", &*segment),
        ];
        let topics = self.cluster.topics();
        topics.create(&self.name, 1, &config).await?;
        self.ensure_config(&config).await
    }

    /// Opens the log again in the background, after a failure: its topic may have been deleted.
    pub fn restore(self: &Arc<Self>) {
        if self.is_restoring.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = self.clone();
        self.runtime.spawn(async move {
            // A failure is met again by the next write.
            _ = log.open().await;
            log.is_restoring.store(false, Ordering::Release);
        });
    }

    /// The name of the topic.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Sends an entry. Entries are appended in the order of these calls.
    pub fn send(self: &Arc<Self>, entry: &Entry<'_>) -> Result<DeliveryFuture, TransportError> {
        let bytes = entry.write();
        let record = FutureRecord::<(), _>::to(&self.name)
            .payload(&bytes)
            .partition(0);
        let producer = self.cluster.writer().producer()?;
        let sent = producer.send_result(record);
        sent.map_err(|(e, _)| self.refused(&e))
    }

    /// The error of an entry that was refused. The topic is created again if it was deleted, and the writer is replaced
    /// after a timeout.
    pub fn refused(self: &Arc<Self>, error: &KafkaError) -> TransportError {
        self.restore();
        self.cluster.writer().failed(error);
        self.cluster.error(&self.writing(), error)
    }

    /// The error of an entry without an answer in time.
    pub fn unanswered(&self) -> TransportError {
        self.cluster.unanswered(&self.writing())
    }

    /// The operation of a reader in errors.
    pub fn reading(&self) -> String {
        format!("reading {}", self.name)
    }

    /// The operation of a writer in errors.
    fn writing(&self) -> String {
        format!("writing to {}", self.name)
    }

    /// Raises the retention and the limit for batches of an existing topic if they are too small for this member.
    async fn ensure_config(&self, config: &[(&str, &str)]) -> Result<(), TransportError> {
        // Without the permission to read the configuration, it is assumed to be right.
        let Some(found) = self.cluster.topics().config(&self.name).await else {
            return Ok(());
        };
        let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
        let retention = value("retention.ms").and_then(|ms| ms.parse::<i64>().ok());
        let is_short =
            retention.is_none_or(|ms| u64::try_from(ms).is_ok_and(|ms| ms < self.needed));
        let is_set = |name| value(name) == config.iter().find(|c| c.0 == name).map(|c| c.1);
        let bytes = value(MAX_MESSAGE_BYTES).and_then(|bytes| bytes.parse::<usize>().ok());
        let is_small = bytes.is_some_and(|bytes| bytes < MIN_BATCH_BYTES);
        if !is_short && !is_small && is_set("cleanup.policy") && is_set("message.timestamp.type") {
            return Ok(());
        }
        let least = MIN_BATCH_BYTES.to_string();
        let least = is_small.then_some((MAX_MESSAGE_BYTES, &*least));
        let config: Vec<_> = config.iter().copied().chain(least).collect();
        // The request resets settings that it does not contain.
        let others = found.entries.iter().filter(|entry| is_set_on_topic(entry));
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&self.name));
        for entry in others {
            change = change.set(&entry.name, entry.value.as_deref().unwrap_or_default());
        }
        for (name, value) in &config {
            change = change.set(name, value);
        }
        let admin = self.cluster.topics().admin().await?;
        let options = AdminOptions::new().request_timeout(Some(self.cluster.settings().deadline()));
        let changed = admin.alter_configs([&change], &options).await;
        let refused = match changed.map(|results| results.into_iter().next()) {
            Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
            Err(e) => e,
            Ok(_) => {
                if let Some((_, limit)) = least {
                    self.learns_limit(limit).await;
                }
                return Ok(());
            }
        };
        let wanted: Vec<_> = config.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let doing = format!(
            "setting {} of the topic {}, which is needed for deduplication",
            wanted.join(","),
            self.name
        );
        Err(self.cluster.error(&doing, &refused))
    }

    /// Waits until the server has learned a raised limit for batches from the controller: it refuses larger ones before.
    async fn learns_limit(&self, limit: &str) {
        let is_old = async || {
            let found = self.cluster.topics().config(&self.name).await?;
            Some(found.get(MAX_MESSAGE_BYTES)?.value.as_deref() != Some(limit))
        };
        let learned = async {
            while is_old().await == Some(true) {
                sleep(CHANGE_DELAY).await;
            }
        };
        // A server that learns it later refuses a claim, which is repeated.
        _ = timeout(self.cluster.settings().deadline(), learned).await;
    }
}

/// Returns `true` if an entry of the configuration was set for this topic.
fn is_set_on_topic(entry: &ConfigEntry) -> bool {
    entry.source == ConfigSource::DynamicTopic
}
