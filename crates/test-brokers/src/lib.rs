//! Redis, Kafka and PostgreSQL servers, and a PgBouncer, for tests and benchmarks.
//!
//! ```ignore
//! let redis = test_brokers::redis::Redis::start();
//! let transport = RedisTransport::connect(redis.url()).await?;
//!
//! let kafka = test_brokers::kafka::Kafka::common();
//! let transport = KafkaTransport::connect(kafka.servers()).await?;
//!
//! let postgres = test_brokers::postgres::Postgres::common();
//! let transport = PostgresTransport::connect(&postgres.url()).await?;
//! ```
//!
//! `REDIS_URL` and `KAFKA_BOOTSTRAP` are the addresses of running servers, which are used where no special settings
//! are needed.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher as _, Hasher as _},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    ops::Range,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    time::Duration,
};

mod directory;
pub mod doomed;
pub mod kafka;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod redis_cluster;
pub mod sentinels;
pub mod tunnel;

/// A server, and the shell that kills it when this process ends, even by SIGKILL.
struct Process {
    shell: Child,
    id: String,
}

/// Runs a program, prints its process id, and kills it when the standard input ends.
const GUARD: &str = r#"
exec 3<&0
"$0" "$@" 3<&- >/dev/null 2>&1 &
id=$!
echo $id
{ cat <&3 >/dev/null; kill -9 $id; } 2>/dev/null &
wait $id
"#;

impl Process {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be run");
        let output = shell.stdout.take().expect("it is a pipe");
        let mut id = String::new();
        BufReader::new(output)
            .read_line(&mut id)
            .expect("the shell prints the process id");
        Process {
            shell,
            id: id.trim().to_owned(),
        }
    }

    fn signal(&self, signal: &str) {
        signal_process(signal, &self.id);
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shell.stdin = None;
        let _ = self.shell.wait();
    }
}

/// Sends a signal, such as `-INT`, to the process with this id.
///
/// The shell sends it: `kill` is a program of its own that a small system does not have.
pub fn signal_process(signal: &str, id: &str) {
    let status = Command::new("sh")
        .args(["-c", r#"kill "$0" "$1""#, signal, id])
        .status()
        .expect("sh can be run");
    assert!(status.success(), "kill {signal} {id}");
}

/// The processor time that the process with this id has used, of all its threads, in steps of 10 ms. `self` is the id of
/// this process. Zero where there is no `/proc`.
pub fn processor_time(id: &str) -> Duration {
    /// The ticks of user time and of system time are these fields behind the name, which ends with the last bracket.
    const TIMES: Range<usize> = 11..13;
    const TICK: Duration = Duration::from_millis(10);
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u32> = fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let ticks: u32 = fields.get(TIMES).unwrap_or_default().iter().sum();
    TICK * ticks
}

/// Panics with the remedy if a program is missing. Tests install nothing.
fn need(program: &str) {
    let mut command = Command::new(program);
    let command = command.arg("--version").stdout(Stdio::null());
    let found = command.stderr(Stdio::null()).status().is_ok();
    assert!(
        found,
        "`{program}` is missing: run `scripts/test`, which installs what the tests need"
    );
}

/// A port on which no server listens, another one in each call.
pub fn free_port() -> u16 {
    /// The system gives none of these to an outgoing connection: a server that restarts finds its port free.
    const PORTS: Range<u16> = 10_000..32_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Other processes begin elsewhere.
        let number = RandomState::new().build_hasher().finish();
        AtomicU16::new((number % u64::from(u16::MAX)) as u16)
    });
    let ports = PORTS.end - PORTS.start;
    loop {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % ports;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn directory(broker: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("static-bus-{broker}-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    directory
}
