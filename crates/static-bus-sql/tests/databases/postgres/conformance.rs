//! The conformance suite: on a database of one server for each case, and on a server of its own where it is restarted.

use std::{sync::Mutex, time::Duration};

use static_bus_conformance::{Capabilities, Harness};
use static_bus_remote::lock::lock;
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;

/// A busy machine is not that late.
const GRACE: Duration = Duration::from_secs(10);

/// Less than that of the suite, for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest record.
const LARGEST: usize = 2_000_000;

struct OneDatabase {
    url: String,
    /// `None` for a database of the common server.
    own: Option<Mutex<Postgres>>,
}

impl OneDatabase {
    fn of(case: &str) -> Self {
        if static_bus_conformance::restarts(case) {
            let own = Postgres::start();
            let url = own.url();
            let own = Some(Mutex::new(own));
            OneDatabase { url, own }
        } else {
            let url = Postgres::common().new_database();
            OneDatabase { url, own: None }
        }
    }
}

impl Harness for OneDatabase {
    type Transport = PostgresTransport;

    async fn connect(&self) -> PostgresTransport {
        PostgresTransport::builder(&self.url)
            .deadline(DEADLINE)
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
        self.own.is_some()
    }

    async fn restart(&self) {
        // Blocks one thread of the runtime; the others continue.
        lock(self.own.as_ref().expect("a server of its own")).restart();
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(|case| OneDatabase::of(case));
static_bus_conformance::inspection_tests!(|case| OneDatabase::of(case));
static_bus_conformance::scheduling_tests!(|case| OneDatabase::of(case));
