//! A PgBouncer in front of a PostgreSQL server, run by the installed `pgbouncer`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    Process,
    directory::Directory,
    free_port,
    postgres::{Postgres, answers, path, program},
};

/// A PgBouncer on a free port of this machine that gives each transaction a connection to the server, stopped when it is dropped. Like
/// the server, it does not run as root.
pub struct PgBouncer {
    port: u16,
    _process: Process,
    _directory: Directory,
}

impl PgBouncer {
    /// A PgBouncer with up to this number of connections to the server, for any user without a password.
    pub fn start(postgres: &Postgres, connections: usize) -> Self {
        // Another program may take the port first.
        for _ in 0..5 {
            if let Some(pgbouncer) = Self::try_start(postgres, connections) {
                return pgbouncer;
            }
        }
        panic!("PgBouncer does not start");
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn try_start(postgres: &Postgres, connections: usize) -> Option<Self> {
        let (directory, port) = (Directory::new("pgbouncer"), free_port());
        let file = directory.path.join("pgbouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 500\n",
            postgres.port()
        );
        fs::write(&file, settings).expect("the directory can be written to");
        let mut arguments = Postgres::prefix();
        arguments.extend([path(&program("pgbouncer")), path(&file)]);
        let mut process = Process::start(&arguments[0], &arguments[1..]);
        let limit = Instant::now() + Duration::from_secs(60);
        while !answers(port).unwrap_or(false) {
            if process.has_ended() || Instant::now() > limit {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(PgBouncer {
            port,
            _process: process,
            _directory: directory,
        })
    }
}
