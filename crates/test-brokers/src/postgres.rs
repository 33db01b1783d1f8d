//! PostgreSQL servers, run by the installed `initdb` and `postgres`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Process,
    directory::{Directory, certify},
    free_port,
};

/// The settings of a server.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// The password of the user `postgres`. Without one, every user is trusted.
    pub password: Option<String>,
    /// TLS, with the certificate of [`Postgres::ca`].
    pub tls: bool,
    /// Settings, such as `max_connections=5`.
    pub settings: Vec<String>,
    /// The size of the largest file in bytes, above 1 MiB. One that is no multiple of 8 KiB is a full disk for the server: a page
    /// of a table is written in part.
    pub largest_file: Option<usize>,
    /// Writes are on the disk when they are confirmed. Otherwise they survive the server, and not the machine.
    pub synced: bool,
}

/// A PostgreSQL server on a free port of this machine, stopped when it is dropped. It runs as the user `postgres` if this process
/// runs as root, which PostgreSQL refuses.
pub struct Postgres {
    options: PostgresOptions,
    port: u16,
    process: Option<Process>,
    directory: Directory,
}

impl Postgres {
    /// One server for all tests of a program. Each test uses a namespace or a database of its own.
    pub fn common() -> &'static Self {
        static COMMON: OnceLock<Postgres> = OnceLock::new();
        COMMON.get_or_init(Postgres::start)
    }

    /// A new server.
    pub fn start() -> Self {
        Postgres::with(PostgresOptions::default())
    }

    /// A new server.
    pub fn with(options: PostgresOptions) -> Self {
        // Another program may take the port before the server does.
        for _ in 0..5 {
            let mut postgres = Postgres {
                options: options.clone(),
                port: free_port(),
                process: None,
                directory: Directory::new("postgres"),
            };
            postgres.initialize();
            if postgres.try_launch() {
                return postgres;
            }
        }
        panic!("PostgreSQL does not start with {options:?}");
    }

    /// The URL of the database `postgres`, with the password.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1", self.port)
    }

    /// The URL of a new database: what the tests of one leave behind, and their open transactions, cost the others nothing.
    pub fn new_database(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        run(&[
            path(&program("createdb")),
            format!("--maintenance-db={}", self.url()),
            name.clone(),
        ]);
        let url = self.url();
        let (server, _) = url.rsplit_once('/').expect("it names a database");
        format!("{server}/{name}")
    }

    /// The URL at another address, such as that of a tunnel.
    pub fn url_at(&self, host: &str, port: u16) -> String {
        let secret = match &self.options.password {
            Some(password) => format!(":{password}"),
            None => String::new(),
        };
        format!("postgres://postgres{secret}@{host}:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority.
    pub fn ca(&self) -> PathBuf {
        self.directory.path.join("certificate.pem")
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again, on the same port and with its data.
    pub fn launch(&mut self) {
        let limit = Instant::now() + Duration::from_secs(60);
        // The processes of the killed one may still end.
        while !self.try_launch() {
            assert!(
                Instant::now() < limit,
                "PostgreSQL starts again: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the server and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Kills the server, and starts it again without the limit of [`PostgresOptions::largest_file`].
    pub fn restart_with_room(&mut self) {
        self.options.largest_file = None;
        self.restart();
    }

    /// The last lines of the log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn initialize(&self) {
        let directory = &self.directory.path;
        let mut arguments = vec!["--pgdata".to_owned(), path(&directory.join("data"))];
        arguments.extend(
            "--username postgres --encoding UTF8 --locale C --no-sync"
                .split(' ')
                .map(str::to_owned),
        );
        if self.options.largest_file.is_some() {
            arguments.push("--wal-segsize=1".to_owned());
        }
        match &self.options.password {
            Some(password) => {
                let file = directory.join("password");
                fs::write(&file, password).expect("the directory can be written to");
                arguments.extend([
                    "--auth=scram-sha-256".to_owned(),
                    format!("--pwfile={}", path(&file)),
                ]);
            }
            None => arguments.push("--auth=trust".to_owned()),
        }
        if self.options.tls {
            certify(directory, false);
        }
        if is_root() {
            let script = r#"chown -R postgres "$0" && chmod 755 "$0" && { [ ! -e "$0/key.pem" ] || chmod 600 "$0/key.pem"; }"#;
            run(&[
                "sh".to_owned(),
                "-c".to_owned(),
                script.to_owned(),
                path(directory),
            ]);
        }
        run(&[Self::prefix(), vec![path(&program("initdb"))], arguments].concat());
    }

    fn try_launch(&mut self) -> bool {
        let directory = &self.directory.path;
        let fsync = if self.options.synced { "on" } else { "off" };
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", path(directory)),
            format!("fsync={fsync}"),
            "max_connections=500".to_owned(),
            "logging_collector=off".to_owned(),
        ];
        if self.options.tls {
            settings.push("ssl=on".to_owned());
            settings.push(format!(
                "ssl_cert_file={}",
                path(&directory.join("certificate.pem"))
            ));
            settings.push(format!("ssl_key_file={}", path(&directory.join("key.pem"))));
        }
        settings.extend(self.options.settings.iter().cloned());
        let settings = settings
            .into_iter()
            .flat_map(|setting| ["-c".to_owned(), setting]);
        // The unit of `ulimit -f` is 512 bytes.
        let limit = match self.options.largest_file {
            Some(bytes) => (bytes / 512).to_string(),
            None => String::new(),
        };
        let server = r#"[ -z "$FILE_LIMIT" ] || ulimit -f "$FILE_LIMIT"; exec "$0" "$@" >>"$PGDATA/../log" 2>&1"#;
        let mut arguments = Self::prefix();
        arguments.extend([
            "env".to_owned(),
            format!("PGDATA={}", path(&directory.join("data"))),
            format!("FILE_LIMIT={limit}"),
        ]);
        arguments.extend(["sh", "-c", server].map(str::to_owned));
        arguments.push(path(&program("postgres")));
        arguments.extend(settings);
        self.process = Some(Process::start(&arguments[0], &arguments[1..]));
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            if answers(self.port).unwrap_or(false) {
                return true;
            }
            let ended = self.process.as_mut().is_none_or(Process::has_ended);
            if ended || Instant::now() > limit {
                self.kill();
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The program that runs another one as the user `postgres`, with the same process id.
    pub(super) fn prefix() -> Vec<String> {
        let prefix = match is_root() {
            true => "setpriv --reuid postgres --regid postgres --clear-groups",
            false => "env",
        };
        prefix.split(' ').map(str::to_owned).collect()
    }
}

/// Returns whether this process runs as root.
fn is_root() -> bool {
    static IS_ROOT: LazyLock<bool> = LazyLock::new(|| {
        let output = Command::new("id")
            .arg("-u")
            .output()
            .expect("id can be run");
        output.stdout.trim_ascii() == b"0"
    });
    *IS_ROOT
}

fn run(command: &[String]) {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A program of PostgreSQL. Debian has those of the server in a directory for each version.
pub(super) fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<_> = versions.collect();
    directories.sort();
    directories.extend(std::env::split_paths(&path));
    // Where Debian has PgBouncer.
    directories.push("/usr/sbin".into());
    let mut programs = directories
        .into_iter()
        .map(|directory| directory.join(name));
    programs
        .find(|program| program.exists())
        .unwrap_or_else(|| {
            panic!("`{name}` is missing: run `scripts/test`, which installs what the tests need")
        })
}

pub(super) fn path(path: &Path) -> String {
    path.to_str().expect("paths are UTF-8").to_owned()
}

/// Returns whether the server accepts connections: it asks for a password, or lets a user in.
pub(super) fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let parameters = b"user\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).expect("it is short");
    let mut request = length.to_be_bytes().to_vec();
    // Version 3.0 of the protocol.
    request.extend([0, 3, 0, 0]);
    request.extend(parameters);
    stream.write_all(&request)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}
