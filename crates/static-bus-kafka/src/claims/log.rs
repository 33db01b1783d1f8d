//! The topic of a group's keys, and how entries get there.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminOptions, AlterConfig, ConfigEntry, ConfigSource, ResourceSpecifier},
    error::KafkaError,
    producer::{DeliveryFuture, FutureRecord},
};

use super::{entry::Entry, millis, table::Table};
use crate::{errors, settings::Settings, topics::claims_name};
use static_bus_remote::transport::{Topic, TransportError};

/// The topic of a group's keys, to be written to.
pub struct Log {
    pub name: Arc<str>,
    settings: Arc<Settings>,
}

impl Log {
    /// Creates the topic if it is missing.
    pub async fn open(
        settings: &Arc<Settings>,
        topic: &Topic,
        group: &str,
        lease: Duration,
        kept: Duration,
    ) -> Result<Self, TransportError> {
        let log = Log {
            name: claims_name(&settings.namespace, topic, group).into(),
            settings: settings.clone(),
        };
        let needed = Table::reach(millis(lease), millis(kept));
        let retention = needed.saturating_mul(2).max(600_000).to_string();
        let segment = (needed / 2).max(60_000).to_string();
        let config = [
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", &*retention),
            ("segment.ms", &*segment),
        ];
        settings.create(&log.name, 1, &config).await?;
        log.see_to_its_settings(needed, &config).await?;
        Ok(log)
    }

    /// Sends an entry on its way. Entries arrive in the order in which they were sent.
    pub fn send(&self, entry: &Entry<'_>) -> Result<DeliveryFuture, TransportError> {
        let bytes = entry.write();
        let record = FutureRecord::<(), _>::to(&self.name)
            .payload(&bytes)
            .partition(0);
        let sent = self
            .settings
            .writer
            .client(&self.settings)?
            .send_result(record);
        sent.map_err(|(e, _)| self.error(&e))
    }

    pub fn error(&self, error: &KafkaError) -> TransportError {
        errors::error(&self.settings.address, &self.doing(), error)
    }

    pub fn unanswered(&self) -> TransportError {
        errors::unanswered(&self.settings.address, &self.doing())
    }

    pub fn reading(&self) -> String {
        format!("reading {}", self.name)
    }

    fn doing(&self) -> String {
        format!("writing to {}", self.name)
    }

    /// A topic that was there before may keep too little: it is set to what is needed now.
    async fn see_to_its_settings(
        &self,
        needed: u64,
        config: &[(&str, &str)],
    ) -> Result<(), TransportError> {
        let admin = self.settings.admin_client().await?;
        let options = AdminOptions::new().request_timeout(Some(self.settings.deadline));
        let topic = ResourceSpecifier::Topic(&self.name);
        let described = admin.describe_configs([&topic], &options).await;
        // Who may not look may go on: whoever made the topic knew what it needs.
        let Ok(Some(Ok(found))) = described.map(|found| found.into_iter().next()) else {
            return Ok(());
        };
        let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
        let kept = value("retention.ms").and_then(|ms| ms.parse::<i64>().ok());
        let is_kept = kept.is_none_or(|ms| u64::try_from(ms).is_ok_and(|ms| ms < needed));
        let is_ours = |name| value(name) == config.iter().find(|c| c.0 == name).map(|c| c.1);
        if !is_kept && is_ours("cleanup.policy") && is_ours("message.timestamp.type") {
            return Ok(());
        }
        // All that are not named would be reset.
        let others = found.entries.iter().filter(|entry| is_chosen(entry));
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&self.name));
        for entry in others {
            change = change.set(&entry.name, entry.value.as_deref().unwrap_or_default());
        }
        for (name, value) in config {
            change = change.set(name, value);
        }
        let changed = admin.alter_configs([&change], &options).await;
        let refused = match changed.map(|results| results.into_iter().next()) {
            Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
            Err(e) => e,
            Ok(_) => return Ok(()),
        };
        let wanted: Vec<_> = config.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let doing = format!(
            "setting {} of the topic {}, which is needed for deduplication",
            wanted.join(","),
            self.name
        );
        Err(errors::error(&self.settings.address, &doing, &refused))
    }
}

fn is_chosen(entry: &ConfigEntry) -> bool {
    entry.source == ConfigSource::DynamicTopic
}
