//! The conformance suite. Most cases share one server under their own namespaces; a case that restarts
//! the server has its own.

use std::{sync::Mutex, time::Duration};

use static_bus_conformance::{Capabilities, Harness, Sharing};
use static_bus_kafka::KafkaTransport;
use static_bus_remote::lock::lock;
use test_brokers::kafka::Kafka;

/// Fewer than the default, because there are hundreds of topics.
const PARTITIONS: u16 = 6;

/// Far more than a call takes, and less than a case waits for one.
const DEADLINE: Duration = Duration::from_secs(25);

/// Longer than the restart of a receiver.
const RECEIVER_GRACE: Duration = Duration::from_secs(8);

/// The default of `message.max.bytes`.
const MAX_RECORD: usize = 1_500_000;

struct OneKafka {
    /// The namespace of the case.
    namespace: String,
    own: Option<Mutex<Kafka>>,
}

impl OneKafka {
    fn of(case: &str) -> Self {
        let restarts = case.contains("restart");
        OneKafka {
            // Without `_`, after which parts of names are reserved. A shared server may have run the case before.
            namespace: format!("{}-{}", case.replace('_', "-"), std::process::id()),
            own: restarts.then(|| Mutex::new(Kafka::start())),
        }
    }

    fn servers(&self) -> String {
        match &self.own {
            Some(own) => lock(own).servers().to_owned(),
            None => Kafka::common().servers().to_owned(),
        }
    }
}

impl Harness for OneKafka {
    type Transport = KafkaTransport;

    async fn connect(&self) -> KafkaTransport {
        let builder = KafkaTransport::builder(self.servers())
            .namespace(&*self.namespace)
            .partitions(PARTITIONS)
            .deadline(DEADLINE)
            .receiver_grace(RECEIVER_GRACE);
        // A member holds up to about 4,000 records of a partition: those of the case are spread evenly.
        let builder = match self.namespace.starts_with("twenty-thousand") {
            true => builder.set("sticky.partitioning.linger.ms", "0"),
            false => builder,
        };
        builder.connect().await.expect("a running server")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER
            .with_sharing(Sharing::Partitions)
            .with_receiver_grace(RECEIVER_GRACE)
            .with_max_record(MAX_RECORD)
    }

    fn restarts(&self) -> bool {
        self.own.is_some()
    }

    async fn restart(&self) {
        let own = self.own.as_ref().expect("a server of the case");
        // Blocks one thread of the runtime; the others continue.
        lock(own).restart();
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(|case| OneKafka::of(case));
static_bus_conformance::inspection_tests!(|case| OneKafka::of(case));
