//! Kafka keeps every promise. Most cases share one server, under namespaces of their own; those that
//! restart it have one each.

use std::sync::{Mutex, PoisonError};

use static_bus_conformance::{Capabilities, Harness, Sharing};
use static_bus_kafka::KafkaTransport;
use test_brokers::kafka::Kafka;

/// Fewer than there are by default: there are hundreds of topics.
const PARTITIONS: u16 = 6;

struct OneKafka {
    /// What the names of the case's topics and groups begin with.
    namespace: String,
    own: Option<Mutex<Kafka>>,
}

impl OneKafka {
    fn of(case: &str) -> Self {
        let restarts = case.contains("restart");
        OneKafka {
            // Not the words that Kafka's names are made of; and a server that is somebody else's may have
            // seen the case before.
            namespace: format!("{}-{}", case.replace('_', "-"), std::process::id()),
            own: restarts.then(|| Mutex::new(Kafka::start())),
        }
    }

    fn servers(&self) -> String {
        match &self.own {
            Some(own) => own
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .servers()
                .to_owned(),
            None => Kafka::common().servers().to_owned(),
        }
    }
}

impl Harness for OneKafka {
    type Transport = KafkaTransport;

    async fn connect(&self) -> KafkaTransport {
        KafkaTransport::builder(self.servers())
            .namespace(&*self.namespace)
            .partitions(PARTITIONS)
            .connect()
            .await
            .expect("the server runs")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER.with_sharing(Sharing::Partitions)
    }

    fn restarts(&self) -> bool {
        self.own.is_some()
    }

    async fn restart(&self) {
        let own = self.own.as_ref().expect("a server of the case's own");
        // Meanwhile the other threads of the runtime go on.
        own.lock().unwrap_or_else(PoisonError::into_inner).restart();
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(|case| OneKafka::of(case));
