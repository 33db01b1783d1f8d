//! The conformance suite on a cluster of three nodes for each case.

use std::sync::Mutex;

use static_bus_conformance::{Capabilities, Harness};
use static_bus_redis::RedisTransport;
use static_bus_remote::lock::lock;
use test_brokers::{redis::Persistence, redis_cluster::RedisCluster};

use super::{GRACE, LARGEST};

/// A cluster that stores its records.
struct OneCluster(Mutex<RedisCluster>);

impl OneCluster {
    fn start() -> Self {
        OneCluster(Mutex::new(RedisCluster::start(Persistence::Unsynced)))
    }
}

impl Harness for OneCluster {
    type Transport = RedisTransport;

    async fn connect(&self) -> RedisTransport {
        let url = lock(&self.0).url();
        RedisTransport::builder(url)
            .receiver_grace(GRACE)
            .max_record(LARGEST)
            .connect()
            .await
            .expect("a running cluster")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER
            .with_receiver_grace(GRACE)
            .with_max_record(LARGEST)
    }

    fn restarts(&self) -> bool {
        true
    }

    async fn restart(&self) {
        // Blocks one thread of the runtime; the others continue.
        lock(&self.0).restart();
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(OneCluster::start());
static_bus_conformance::inspection_tests!(OneCluster::start());
static_bus_conformance::scheduling_tests!(OneCluster::start());
