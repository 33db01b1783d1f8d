//! The configurations of the clients of `librdkafka` that follow from the settings of a transport.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::{BATCH_BYTES, MAX_RECORD_BYTES, Settings};
use static_bus_remote::{time::millis, transport::Kind};

/// The name of the setting for the time after which a request fails.
const SOCKET_TIMEOUT: &str = "socket.timeout.ms";
/// The name of the setting for the pause of a client that has fetched enough. It makes one as well if anything else is
/// in its queue, or its last fetch had records of aborted transactions only.
const FETCH_PAUSE: &str = "fetch.queue.backoff.ms";
const SHORT_PAUSE: &str = "20";
/// The name of the setting for the name of a client.
const CLIENT_ID: &str = "client.id";

impl Settings {
    /// The configuration of a producer that does not lose, duplicate or reorder records. `batch_bytes` is the largest
    /// size of its batches.
    pub fn producer(&self, batch_bytes: usize) -> ClientConfig {
        let mut config = self.common();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("partitioner", "murmur2_random");
        let largest = self.max_bytes(Kind::DeadLetter);
        // A call appends its records as one batch: waiting for more would only delay it.
        config.set("linger.ms", "0");
        // Without this, a batch without keys becomes one request for each partition.
        config.set("sticky.partitioning.linger.ms", "10");
        config.set("message.timeout.ms", millis(self.deadline).to_string());
        let mut config = self.with_extra(config);
        config.set(MAX_RECORD_BYTES, largest.to_string());
        config.set(BATCH_BYTES, self.batch_bytes.min(batch_bytes).to_string());
        config
    }

    /// The configuration of a transactional producer. `batch_bytes` is the largest size of its batches.
    pub fn transactional_producer(&self, id: &str, batch_bytes: usize) -> ClientConfig {
        let mut config = self.producer(batch_bytes);
        config.set("transactional.id", id);
        // The open transaction of a killed process delays its consumers until this time has passed.
        let timeout = millis(self.deadline).saturating_add(1000);
        config.set("transaction.timeout.ms", timeout.to_string());
        config
    }

    /// The configuration of a consumer of a group, without automatic commits.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.common();
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest");
        config.set("isolation.level", "read_committed");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("fetch.wait.max.ms", "100");
        config.set("fetch.error.backoff.ms", "100");
        // The default of a second is for queues of 64 MB.
        config.set(FETCH_PAUSE, SHORT_PAUSE);
        self.with_extra(config)
    }

    /// The same with the name of the member, by which operators recognise it in the cluster.
    pub fn member(&self, group: &str, name: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        if !self.extra.contains_key(CLIENT_ID) {
            config.set(CLIENT_ID, name);
        }
        config
    }

    /// The configuration of a client that reads a topic outside of groups. A client that is assigned partitions needs the
    /// name of a group: this one has that of the topic, and does not join it.
    pub fn reader(&self, topic: &str) -> ClientConfig {
        let mut config = self.consumer(topic);
        // A long pause is set for members. What is read here is waited for.
        config.set(FETCH_PAUSE, SHORT_PAUSE);
        config
    }

    /// The configuration of a client for administrative requests.
    pub fn admin(&self) -> ClientConfig {
        self.with_extra(self.common())
    }

    /// The time after which a request of a client fails, and is sent again.
    pub fn request_timeout(&self) -> Duration {
        let set = self.extra.get(SOCKET_TIMEOUT);
        let set = set.and_then(|ms| ms.parse().ok());
        set.map_or_else(|| self.default_request_timeout(), Duration::from_millis)
    }

    fn default_request_timeout(&self) -> Duration {
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        self.deadline.clamp(shortest, longest)
    }

    fn common(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config.set(CLIENT_ID, "static-bus");
        // A client that has missed a change of leaders learns it before its records time out.
        let refresh = millis(self.deadline / 4).clamp(500, 10_000);
        config.set("topic.metadata.refresh.interval.ms", refresh.to_string());
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("socket.keepalive.enable", "true");
        let timeout = millis(self.default_request_timeout()).to_string();
        config.set(SOCKET_TIMEOUT, &timeout);
        config.set("socket.connection.setup.timeout.ms", &timeout);
        // A topic that the broker creates by itself has the wrong configuration.
        config.set("allow.auto.create.topics", "false");
        for (name, value) in &self.security {
            config.set(*name, value);
        }
        config
    }

    fn with_extra(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::FETCH_PAUSE;
    use crate::settings::KafkaTransportBuilder;

    #[test]
    fn the_pause_of_the_members_is_not_that_of_readers() {
        let builder = KafkaTransportBuilder::new("127.0.0.1:1");
        let builder = builder.set(FETCH_PAUSE, "300000");
        let settings = builder.settings().unwrap();
        let member = settings.member("group", "one");
        assert_eq!(member.get(FETCH_PAUSE), Some("300000"));
        assert_eq!(settings.reader("topic").get(FETCH_PAUSE), Some("20"));
    }

    #[test]
    fn metadata_is_read_several_times_in_a_deadline() {
        for (seconds, expected) in [(1, "500"), (10, "2500"), (60, "10000")] {
            let builder = KafkaTransportBuilder::new("127.0.0.1:1");
            let builder = builder.deadline(Duration::from_secs(seconds));
            let settings = builder.settings().unwrap();
            let clients = [
                settings.producer(1),
                settings.consumer("group"),
                settings.admin(),
            ];
            for client in clients {
                let refresh = client.get("topic.metadata.refresh.interval.ms");
                assert_eq!(refresh, Some(expected), "{seconds} s");
            }
        }
    }
}
