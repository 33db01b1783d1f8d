//! Redis servers, run by the installed `redis-server`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{Process, directory, free_port, need};

/// The persistence of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persistence {
    /// None.
    #[default]
    None,
    /// A log that survives the server, however slow the disk is, and not the machine.
    Unsynced,
    /// A log that is written to disk every second. Behind a slow disk, the last two seconds may be lost with the server.
    EverySecond,
    /// A log that is written to disk with every command.
    Always,
}

/// The settings of a server.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    pub persistence: Persistence,
    pub password: Option<String>,
    /// Further arguments of `redis-server`.
    pub arguments: Vec<String>,
}

/// A Redis server on a free port of this machine, stopped when it is dropped.
pub struct Redis {
    options: RedisOptions,
    url: String,
    /// `None` for the server of `REDIS_URL`.
    own: Option<Own>,
}

struct Own {
    port: u16,
    directory: PathBuf,
    process: Option<Process>,
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
        need("redis-server");
        // Another program may take the port before the server does.
        for _ in 0..10 {
            let directory = directory("redis");
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

    /// The URL, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.own().port
    }

    /// `127.0.0.1:port`.
    pub fn host_and_port(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Kills the server, as a crash would. Data that is not on disk is lost.
    pub fn kill(&mut self) {
        self.own_mut().process = None;
    }

    /// Starts the server again, on the same port and with its stored data.
    pub fn launch(&mut self) {
        assert!(self.try_launch(), "redis-server starts again");
    }

    /// Kills the server and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// The process id.
    pub fn id(&self) -> &str {
        &self.process().id
    }

    /// Suspends the server until [`resume`](Redis::resume), with its connections open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resumes the server.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Sends one command on a connection of its own. Returns the bytes of the reply.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words)
            .unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    fn try_command(&self, words: &[&str]) -> std::io::Result<String> {
        let server = self.host_and_port();
        let Some(password) = &self.options.password else {
            return command(&server, words);
        };
        let replies = commands(&server, &[&["AUTH", password], words])?;
        Ok(replies
            .strip_prefix("+OK\r\n")
            .unwrap_or(&replies)
            .to_owned())
    }

    /// Deletes the directory of the server: it cannot save any more.
    pub fn lose_disk(&self) {
        fs::remove_dir_all(&self.own().directory).expect("the directory of the server");
    }

    /// Changes the password of the server. The URL keeps the old one.
    pub fn set_password(&mut self, password: &str) {
        self.command(&["CONFIG", "SET", "requirepass", password]);
        self.options.password = Some(password.to_owned());
    }

    /// Kills the server and starts it again, so that it takes seconds to load its log, which is rewritten. Does not
    /// wait for it.
    pub fn restart_slowly(&mut self) {
        let fill = "for n = 1, 3000 do redis.call('SET', 'load:' .. n, n) end";
        self.command(&["EVAL", fill, "0"]);
        self.command(&["BGREWRITEAOF"]);
        while !self
            .command(&["INFO", "persistence"])
            .contains("aof_rewrite_in_progress:0")
        {
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        let often = ["--loading-process-events-interval-bytes", "1024"];
        self.start_process(&[&["--key-load-delay", "1000"], &often[..]].concat());
    }

    fn try_launch(&mut self) -> bool {
        self.start_process(&[]);
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

    fn start_process(&mut self, more: &[&str]) {
        let options = self.options.clone();
        let own = self.own_mut();
        let port = own.port.to_string();
        let directory = own.directory.to_string_lossy();
        let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &directory];
        arguments.extend(["--save", "", "--daemonize", "no", "--logfile", "log"]);
        arguments.extend(match options.persistence {
            Persistence::None => ["--appendonly", "no", "--appendfsync", "no"],
            Persistence::Unsynced => ["--appendonly", "yes", "--appendfsync", "no"],
            Persistence::EverySecond => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Persistence::Always => ["--appendonly", "yes", "--appendfsync", "always"],
        });
        if let Some(password) = &options.password {
            arguments.extend(["--requirepass", password]);
        }
        arguments.extend(options.arguments.iter().map(String::as_str));
        arguments.extend(more);
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        own.process = Some(Process::start("redis-server", &arguments));
    }

    fn signal(&self, signal: &str) {
        self.process().signal(signal);
    }

    fn process(&self) -> &Process {
        self.own().process.as_ref().expect("the server is running")
    }

    fn own(&self) -> &Own {
        self.own
            .as_ref()
            .expect("a server that this process has started")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own
            .as_mut()
            .expect("a server that this process has started")
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

/// Sends one command to the server at `host:port`. Returns the bytes of the reply.
///
/// # Errors
/// If the connection fails or ends.
pub fn command(server: &str, words: &[&str]) -> std::io::Result<String> {
    commands(server, &[words])
}

fn commands(server: &str, commands: &[&[&str]]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = Vec::new();
    for words in commands {
        request.extend(encode(words));
    }
    request.extend(encode(&["QUIT"]));
    stream.write_all(&request)?;
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies)?;
    let replies = String::from_utf8_lossy(&replies);
    Ok(replies
        .strip_suffix("+OK\r\n")
        .unwrap_or(&replies)
        .to_owned())
}

/// A command as the server reads it.
pub(crate) fn encode(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request.into_bytes()
}
