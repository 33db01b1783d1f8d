//! The conformance suite on Redis.

use std::sync::{Mutex, PoisonError};

use static_bus_conformance::{Capabilities, Harness};
use static_bus_redis::RedisTransport;
use test_brokers::redis::{Persistence, Redis, RedisOptions};

/// A server with persistence, for one case.
struct OneRedis(Mutex<Redis>);

impl OneRedis {
    fn start() -> Self {
        OneRedis(Mutex::new(Redis::with(RedisOptions {
            persistence: Persistence::EverySecond,
            ..RedisOptions::default()
        })))
    }
}

impl Harness for OneRedis {
    type Transport = RedisTransport;

    async fn connect(&self) -> RedisTransport {
        let url = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .url()
            .to_owned();
        RedisTransport::builder(url)
            .connect()
            .await
            .expect("the server runs")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER
    }

    fn restarts(&self) -> bool {
        true
    }

    async fn restart(&self) {
        // Blocks this thread only: the runtime has others.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .restart();
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(OneRedis::start());
