//! Starts the brokers that tests need, and stops them.
//!
//! ```ignore
//! mod brokers;
//! let redis = brokers::Redis::start();
//! let transport = RedisTransport::connect(redis.url()).await?;
//! ```
//!
//! `REDIS_URL` names a server to use instead of starting one, for tests that need no special one.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How a server keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persistence {
    /// Not at all.
    #[default]
    None,
    /// A log that is written to disk every second.
    EverySecond,
    /// A log that is written to disk with every command.
    Always,
}

/// What kind of server to start.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    pub persistence: Persistence,
    pub password: Option<String>,
    /// More arguments of `redis-server`.
    pub arguments: Vec<String>,
}

/// A Redis server on a free port of this machine, gone when it is dropped.
pub struct Redis {
    options: RedisOptions,
    url: String,
    /// None if it is somebody else's.
    own: Option<Own>,
}

struct Own {
    port: u16,
    directory: PathBuf,
    process: Option<Process>,
}

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

impl Redis {
    /// A server without persistence: that of `REDIS_URL`, or a new one.
    pub fn shared() -> Self {
        match std::env::var("REDIS_URL") {
            Ok(url) if !url.is_empty() => Redis {
                options: RedisOptions::default(),
                url,
                own: None,
            },
            _ => Redis::start(),
        }
    }

    /// A new server without persistence.
    pub fn start() -> Self {
        Redis::with(RedisOptions::default())
    }

    /// A new server.
    pub fn with(options: RedisOptions) -> Self {
        install();
        // Another program may take the port between finding and using it.
        for _ in 0..10 {
            let directory = directory();
            let port = free_port();
            let secret = match &options.password {
                Some(password) => format!(":{password}@"),
                None => String::new(),
            };
            let mut redis = Redis {
                options: options.clone(),
                url: format!("redis://{secret}127.0.0.1:{port}"),
                own: Some(Own {
                    port,
                    directory,
                    process: None,
                }),
            };
            if redis.try_launch() {
                return redis;
            }
        }
        panic!("redis-server does not start with {options:?}");
    }

    /// Its URL, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:port`.
    pub fn host_and_port(&self) -> String {
        format!("127.0.0.1:{}", self.own().port)
    }

    /// Stops it at once, as a crash would. What is not on disk is lost.
    pub fn kill(&mut self) {
        self.own_mut().process = None;
    }

    /// Starts it again, on the same port and with what it had kept.
    pub fn launch(&mut self) {
        assert!(self.try_launch(), "redis-server starts again");
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Stops it from running until [`resume`](Redis::resume), with its connections open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it run again.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Sends one command on a connection of its own, and gives the reply as it is on the wire.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words)
            .unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    fn try_command(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.host_and_port())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut request = Vec::new();
        if let Some(password) = &self.options.password {
            encode(&["AUTH", password], &mut request);
        }
        encode(words, &mut request);
        encode(&["QUIT"], &mut request);
        stream.write_all(&request)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply);
        let reply = match &self.options.password {
            Some(_) => reply.strip_prefix("+OK\r\n").unwrap_or(&reply),
            None => &reply,
        };
        Ok(reply.strip_suffix("+OK\r\n").unwrap_or(reply).to_owned())
    }

    fn try_launch(&mut self) -> bool {
        let options = self.options.clone();
        let own = self.own_mut();
        let port = own.port.to_string();
        let directory = own.directory.to_string_lossy();
        let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &directory];
        arguments.extend(["--save", "", "--daemonize", "no", "--logfile", "log"]);
        arguments.extend(match options.persistence {
            Persistence::None => ["--appendonly", "no", "--appendfsync", "no"],
            Persistence::EverySecond => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Persistence::Always => ["--appendonly", "yes", "--appendfsync", "always"],
        });
        if let Some(password) = &options.password {
            arguments.extend(["--requirepass", password]);
        }
        arguments.extend(options.arguments.iter().map(String::as_str));
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        own.process = Some(Process::start("redis-server", &arguments));
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(reply) = self.try_command(&["PING"])
                && reply.starts_with("+PONG")
            {
                return true;
            }
            let ended = self
                .own_mut()
                .process
                .as_mut()
                .is_none_or(Process::has_ended);
            if ended || Instant::now() > limit {
                self.kill();
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        let process = self.own().process.as_ref().expect("the server is running");
        let status = Command::new("kill")
            .args([signal, &process.id])
            .status()
            .expect("kill can be run");
        assert!(status.success(), "kill {signal}");
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a server of the test's own")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own.as_mut().expect("a server of the test's own")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            own.process = None;
            let _ = fs::remove_dir_all(&own.directory);
        }
    }
}

/// Installs `redis-server` where it is missing.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let there = |program: &str| {
            let mut command = Command::new(program);
            let command = command.arg("--version").stdout(Stdio::null());
            command.stderr(Stdio::null()).status().is_ok()
        };
        if there("redis-server") {
            return;
        }
        for words in ["apt-get update", "apt-get install -y redis-server"] {
            let mut words = words.split(' ').collect::<Vec<_>>();
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
                "redis-server is missing, and `{}` failed: install it",
                words.join(" ")
            );
        }
        assert!(there("redis-server"), "redis-server is missing: install it");
    });
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("static-bus-redis-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    directory
}

fn encode(words: &[&str], request: &mut Vec<u8>) {
    request.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        request.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}
