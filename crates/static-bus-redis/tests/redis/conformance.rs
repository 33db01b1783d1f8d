//! The conformance suite on one server for each case.

mod cluster;

use std::{sync::Mutex, time::Duration};

use static_bus_conformance::{Capabilities, Harness};
use static_bus_redis::RedisTransport;
use static_bus_remote::lock::lock;
use test_brokers::redis::{Persistence, Redis, RedisOptions};

/// Less than that of the suite, for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// Receivers announce themselves every second: a busy machine is not that late.
const GRACE: Duration = Duration::from_secs(15);

/// The largest record. The server's own limit is 512 MB.
const LARGEST: usize = 2_000_000;

/// Servers that store their records.
trait Servers: Send {
    fn url(&self) -> String;
    fn restart(&mut self);
}

impl Servers for Redis {
    fn url(&self) -> String {
        self.url().to_owned()
    }

    fn restart(&mut self) {
        self.restart();
    }
}

/// The servers of one case.
struct Own<S>(Mutex<S>);

fn one_server() -> Own<Redis> {
    Own(Mutex::new(Redis::with(RedisOptions {
        persistence: Persistence::Unsynced,
        ..RedisOptions::default()
    })))
}

impl<S: Servers> Harness for Own<S> {
    type Transport = RedisTransport;

    async fn connect(&self) -> RedisTransport {
        let url = lock(&self.0).url();
        RedisTransport::builder(url)
            .deadline(DEADLINE)
            .receiver_grace(GRACE)
            .max_record(LARGEST)
            .connect()
            .await
            .expect("running servers")
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

static_bus_conformance::conformance_tests!(one_server());
static_bus_conformance::inspection_tests!(one_server());
static_bus_conformance::scheduling_tests!(one_server());
