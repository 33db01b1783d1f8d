//! The conformance suite, on one file for each case.

use std::time::Duration;

use static_bus_conformance::{Capabilities, Harness};
use static_bus_sql::SqliteTransport;
use test_brokers::doomed::{self, Doomed};

/// A busy machine is not that late.
const GRACE: Duration = Duration::from_secs(10);

/// Less than that of the suite, for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest record.
const LARGEST: usize = 2_000_000;

struct OneFile(tempfile::TempDir);

impl OneFile {
    fn new() -> Self {
        OneFile(tempfile::tempdir().expect("a directory for temporary files"))
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("bus.db").display())
    }
}

impl Harness for OneFile {
    type Transport = SqliteTransport;

    async fn connect(&self) -> SqliteTransport {
        SqliteTransport::builder(self.url())
            .deadline(DEADLINE)
            .receiver_grace(GRACE)
            .max_record(LARGEST)
            .connect()
            .await
            .expect("a file")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER
            .with_receiver_grace(GRACE)
            .with_max_record(LARGEST)
    }

    fn restarts(&self) -> bool {
        true
    }

    /// Kills a process with an open transaction: SQLite has no server that could be killed.
    async fn restart(&self) {
        let doomed = Doomed::start(
            "sqlite::conformance::the_process_that_is_killed_while_it_writes",
            &self.url(),
        );
        doomed.kill_while_handling().await;
    }

    fn may_skip(&self) -> bool {
        false
    }
}

static_bus_conformance::conformance_tests!(OneFile::new());
static_bus_conformance::inspection_tests!(OneFile::new());
static_bus_conformance::scheduling_tests!(OneFile::new());

/// An outbox has the promises of its broker, and keeps messages that are due later for each.
mod outbox {
    use sqlx::Sqlite;
    use static_bus_conformance::{Capabilities, Harness};
    use static_bus_remote::{MemoryBroker, transport::RECEIVER_GRACE};
    use static_bus_sql::{Outbox, RelayHandle};
    use tokio::sync::OnceCell;

    use super::OneFile;

    struct OneOutbox {
        file: OneFile,
        broker: MemoryBroker,
        relay: OnceCell<RelayHandle<Sqlite>>,
    }

    impl OneOutbox {
        fn new() -> Self {
            OneOutbox {
                file: OneFile::new(),
                broker: MemoryBroker::new(),
                relay: OnceCell::new(),
            }
        }
    }

    impl Harness for OneOutbox {
        type Transport = Outbox<MemoryBroker, Sqlite>;

        async fn connect(&self) -> Self::Transport {
            let outbox = self.file.connect().await.outbox(self.broker.clone());
            let relay = async || outbox.relay().start().await.expect("a file");
            self.relay.get_or_init(relay).await;
            outbox
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::IN_PROCESS.with_receiver_grace(RECEIVER_GRACE)
        }
    }

    static_bus_conformance::conformance_tests!(OneOutbox::new());
    static_bus_conformance::inspection_tests!(OneOutbox::new());
    static_bus_conformance::scheduling_tests!(OneOutbox::new());
}

/// The process of [`OneFile::restart`].
#[tokio::test]
async fn the_process_that_is_killed_while_it_writes() {
    let Some(url) = doomed::told() else { return };
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let mut transaction = pool.begin_with("begin immediate").await.unwrap();
    sqlx::query("delete from static_bus_record")
        .execute(&mut *transaction)
        .await
        .unwrap();
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}
