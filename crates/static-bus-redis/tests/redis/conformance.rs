//! The conformance suite on one server for each case.

mod cluster;

use std::{sync::Mutex, time::Duration};

use static_bus_conformance::{Capabilities, Harness};
use static_bus_redis::RedisTransport;
use static_bus_remote::lock::lock;
use test_brokers::redis::{Persistence, Redis, RedisOptions};

/// Receivers announce themselves every second: a busy machine is not that late.
const GRACE: Duration = Duration::from_secs(15);

/// The largest record. The server's own limit is 512 MB.
const LARGEST: usize = 2_000_000;

/// A server that stores its records.
struct OneRedis(Mutex<Redis>);

impl OneRedis {
    fn start() -> Self {
        OneRedis(Mutex::new(Redis::with(RedisOptions {
            persistence: Persistence::Unsynced,
            ..RedisOptions::default()
        })))
    }
}

impl Harness for OneRedis {
    type Transport = RedisTransport;

    async fn connect(&self) -> RedisTransport {
        let url = lock(&self.0).url().to_owned();
        RedisTransport::builder(url)
            .receiver_grace(GRACE)
            .max_record(LARGEST)
            .connect()
            .await
            .expect("a running server")
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

static_bus_conformance::conformance_tests!(OneRedis::start());
static_bus_conformance::inspection_tests!(OneRedis::start());
static_bus_conformance::scheduling_tests!(OneRedis::start());
