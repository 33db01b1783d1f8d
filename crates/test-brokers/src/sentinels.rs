//! Three Sentinels that watch a primary and its replicas, run by the installed `redis-server`.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    Process, directory, free_port, need,
    redis::{Redis, encode},
};

/// The name of the primary.
const NAME: &str = "primary";

/// The answer to the last command of an exchange.
const END: &str = "the end of the replies";

/// Three Sentinels, stopped when this is dropped.
pub struct Sentinels(Vec<Sentinel>);

struct Sentinel {
    port: u16,
    tls_port: Option<u16>,
    password: Option<String>,
    directory: PathBuf,
    process: Option<Process>,
}

#[derive(Default)]
struct Settings<'a> {
    password: Option<&'a str>,
    /// The lines of the configuration for TLS.
    tls: Option<&'a str>,
}

impl Sentinels {
    /// Starts Sentinels that watch this primary, and waits until they know its replicas and each other. They replace
    /// a primary that has not answered for two seconds.
    pub fn watch(primary: &Redis, replicas: usize) -> Self {
        Sentinels::start(primary.port(), replicas, Settings::default())
    }

    /// The same with a password of the Sentinels.
    pub fn with_password(primary: &Redis, replicas: usize, password: &str) -> Self {
        let settings = Settings {
            password: Some(password),
            ..Settings::default()
        };
        Sentinels::start(primary.port(), replicas, settings)
    }

    /// The same with TLS: on this port of the primary, and between the Sentinels and their clients. The configuration has the
    /// files of the certificates, and the credentials of the primary.
    pub fn with_tls(primary: u16, configuration: &str) -> Self {
        let settings = Settings {
            tls: Some(configuration),
            ..Settings::default()
        };
        Sentinels::start(primary, 0, settings)
    }

    fn start(primary: u16, replicas: usize, settings: Settings<'_>) -> Self {
        need("redis-server");
        let start = |_| Sentinel::start(primary, &settings);
        let sentinels = Sentinels((0..3).map(start).collect());
        let limit = Instant::now() + Duration::from_secs(60);
        let expected = [
            format!(
                "num-slaves\r\n${}\r\n{replicas}\r\n",
                replicas.to_string().len()
            ),
            "num-other-sentinels\r\n$1\r\n2\r\n".to_owned(),
        ];
        for sentinel in &sentinels.0 {
            loop {
                let state = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                if expected.iter().all(|part| state.contains(part)) {
                    break;
                }
                assert!(
                    Instant::now() < limit,
                    "the Sentinels do not agree: {state}"
                );
                thread::sleep(Duration::from_millis(50));
            }
        }
        sentinels
    }

    /// The URL of the primary.
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// The same with user and password of the primary, as `user:password@`.
    pub fn url_with(&self, credentials: &str) -> String {
        let scheme = match self.0[0].tls_port {
            Some(_) => "rediss",
            None => "redis",
        };
        let port = |sentinel: &Sentinel| sentinel.tls_port.unwrap_or(sentinel.port);
        let hosts = self.0.iter().map(|s| format!("127.0.0.1:{}", port(s)));
        let hosts: Vec<_> = hosts.collect();
        format!(
            "{scheme}+sentinel://{credentials}{}/{NAME}",
            hosts.join(",")
        )
    }

    /// The port of the primary, as the first Sentinel knows it.
    pub fn primary(&self) -> u16 {
        let address = self.0[0].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let port = address.lines().nth(4).and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {address:?}"))
    }

    /// Kills the first Sentinel.
    pub fn kill_one(&mut self) {
        self.0[0].process = None;
    }
}

impl Sentinel {
    fn start(primary: u16, settings: &Settings<'_>) -> Self {
        let (directory, port) = (directory("sentinel"), free_port());
        let file = directory.join("sentinel.conf");
        let mut configuration = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} 2000\n\
             sentinel failover-timeout {NAME} 10000\n",
            directory.display()
        );
        if let Some(password) = settings.password {
            configuration += &format!("requirepass {password}\n");
        }
        let tls_port = settings.tls.map(|tls| {
            let port = free_port();
            configuration += &format!("tls-port {port}\ntls-replication yes\n{tls}\n");
            port
        });
        fs::write(&file, configuration).expect("a file in the directory");
        let file = file.to_string_lossy().into_owned();
        let arguments = [file, "--sentinel".to_owned()];
        Sentinel {
            port,
            tls_port,
            password: settings.password.map(str::to_owned),
            directory,
            process: Some(Process::start("redis-server", &arguments)),
        }
    }

    /// Sends a command. Returns an empty text while the Sentinel does not answer.
    fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_default()
    }

    fn try_command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // A Sentinel does not know `QUIT`: the second reply is the end.
        let mut request = Vec::new();
        if let Some(password) = &self.password {
            request.extend(encode(&["AUTH", password]));
        }
        request.extend(encode(words));
        request.extend(encode(&["PING", END]));
        stream.write_all(&request)?;
        let (mut replies, mut bytes) = (String::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut bytes)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            replies += &String::from_utf8_lossy(&bytes[..length]);
            if let Some((reply, _)) = replies.split_once(&format!("${}\r\n{END}\r\n", END.len())) {
                let reply = match self.password {
                    Some(_) => reply.strip_prefix("+OK\r\n").unwrap_or(reply),
                    None => reply,
                };
                return Ok(reply.to_owned());
            }
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.process = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}
