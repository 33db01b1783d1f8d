//! The conformance suite on a cluster of three nodes for each case.

use std::sync::Mutex;

use test_brokers::{redis::Persistence, redis_cluster::RedisCluster};

use super::{Own, Servers};

impl Servers for RedisCluster {
    fn url(&self) -> String {
        self.url()
    }

    fn restart(&mut self) {
        self.restart();
    }
}

fn one_cluster() -> Own<RedisCluster> {
    Own(Mutex::new(RedisCluster::start(Persistence::Unsynced)))
}

static_bus_conformance::conformance_tests!(one_cluster());
static_bus_conformance::inspection_tests!(one_cluster());
static_bus_conformance::scheduling_tests!(one_cluster());
