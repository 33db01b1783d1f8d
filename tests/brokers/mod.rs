//! Starts the brokers that tests need, and stops them.
//!
//! ```ignore
//! mod brokers;
//! let redis = brokers::redis::Redis::start();
//! let transport = RedisTransport::connect(redis.url()).await?;
//!
//! let kafka = brokers::kafka::Kafka::common();
//! let transport = KafkaTransport::connect(kafka.servers()).await?;
//! ```
//!
//! `REDIS_URL` and `KAFKA_BOOTSTRAP` name servers to use instead of starting them, for tests that
//! need no special ones.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
pub mod proxy;
pub mod redis;

/// A server, and the shell that ends it when this process does, however that happens.
struct Process {
    shell: Child,
    id: String,
}

/// Runs a program, tells its process id, and kills it when the standard input ends.
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
            .expect("the shell tells the process id");
        Process {
            shell,
            id: id.trim().to_owned(),
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.id])
            .status()
            .expect("kill can be run");
        assert!(status.success(), "kill {signal}");
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

/// Installs a program where it is missing, from these packages.
fn install(program: &str, packages: &[&str]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let there = || {
        let mut command = Command::new(program);
        let command = command.arg("--version").stdout(Stdio::null());
        command.stderr(Stdio::null()).status().is_ok()
    };
    if there() {
        return;
    }
    let install = [&["apt-get", "install", "-y"], packages].concat();
    for mut words in [vec!["apt-get", "update"], install] {
        if !is_root() {
            words.insert(0, "sudo");
        }
        let status = Command::new(words[0])
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "{program} is missing, and `{}` failed: install it",
            words.join(" ")
        );
    }
    assert!(there(), "{program} is missing: install it");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn directory(broker: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("static-bus-{broker}-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    directory
}
