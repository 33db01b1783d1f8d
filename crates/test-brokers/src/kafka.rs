//! An Apache Kafka in KRaft mode: a single server, started from its Maven artifacts.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use super::{
    Process,
    directory::{Directory, certify},
    free_port, need,
    proxy::Proxy,
};

/// The version that `scripts/brokers` downloads.
const VERSION: &str = "4.1.1";

/// The settings of a server.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// Further ports with TLS, and with SASL for the user `alice` with the password `alice-secret`.
    pub secure: bool,
    /// A port with TLS that requires a certificate of the client, and accepts that of [`Kafka::ca`].
    pub client_certificates: bool,
    /// A further port behind a proxy.
    pub proxied: bool,
    /// Optimized for throughput instead of a short start.
    pub warm: bool,
    /// Further lines of `server.properties`.
    pub properties: Vec<String>,
}

/// A Kafka server on free ports of this machine, stopped when it is dropped or this process ends.
pub struct Kafka {
    options: KafkaOptions,
    servers: String,
    /// `None` for the server of `KAFKA_BOOTSTRAP`.
    own: Option<Own>,
}

struct Own {
    ports: Ports,
    proxy: Option<Proxy>,
    process: Option<Process>,
    directory: Directory,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    controller: u16,
    tls: u16,
    sasl: u16,
    sasl_tls: u16,
    proxied: u16,
}

impl Kafka {
    /// One server for all tests of a program: that of `KAFKA_BOOTSTRAP`, or a new one. Each test uses a prefix or
    /// names of its own.
    pub fn common() -> &'static Self {
        static COMMON: OnceLock<Kafka> = OnceLock::new();
        COMMON.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP") {
            Ok(servers) if !servers.is_empty() => Kafka {
                options: KafkaOptions::default(),
                servers,
                own: None,
            },
            _ => Kafka::start(),
        })
    }

    /// A new server.
    pub fn start() -> Self {
        Kafka::with(KafkaOptions::default())
    }

    /// A new server.
    pub fn with(options: KafkaOptions) -> Self {
        // Another program may take a port before the server does.
        for _ in 0..5 {
            let ports = Ports {
                plain: free_port(),
                controller: free_port(),
                tls: free_port(),
                sasl: free_port(),
                sasl_tls: free_port(),
                proxied: free_port(),
            };
            let proxied = options.proxied.then_some(ports.proxied);
            let mut kafka = Kafka {
                options: options.clone(),
                servers: format!("127.0.0.1:{}", ports.plain),
                own: Some(Own {
                    ports,
                    proxy: proxied.map(Proxy::start),
                    process: None,
                    directory: Directory::new("kafka"),
                }),
            };
            kafka.prepare();
            if kafka.try_launch() {
                return kafka;
            }
        }
        panic!("Kafka does not start with {options:?}");
    }

    /// The address, `host:port`.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The address of the port with TLS.
    pub fn tls(&self) -> String {
        format!("localhost:{}", self.own().ports.tls)
    }

    /// The address of the port with SASL and without TLS.
    pub fn sasl(&self) -> String {
        format!("localhost:{}", self.own().ports.sasl)
    }

    /// The address of the port with SASL and TLS.
    pub fn sasl_tls(&self) -> String {
        format!("localhost:{}", self.own().ports.sasl_tls)
    }

    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        let proxy = self.own().proxy.as_ref();
        proxy.expect("a server that is `proxied`")
    }

    /// The certificate authority.
    pub fn ca(&self) -> PathBuf {
        self.own().directory.path.join("certificate.pem")
    }

    /// The key of the certificate authority.
    pub fn key(&self) -> PathBuf {
        self.own().directory.path.join("key.pem")
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        self.own_mut().process = None;
    }

    /// Starts the server again, on the same ports and with its data.
    pub fn launch(&mut self) {
        // The last writes may be incomplete. The server repairs its log when it starts.
        assert!(self.try_launch(), "Kafka starts again");
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

    /// Suspends the server until [`resume`](Kafka::resume), with its connections open.
    pub fn pause(&self) {
        self.process().signal("-STOP");
    }

    /// Resumes the server.
    pub fn resume(&self) {
        self.process().signal("-CONT");
    }

    /// The last lines of the log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.own().directory.path.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Writes the settings and the initial data.
    fn prepare(&self) {
        let directory = &self.own().directory.path;
        if self.options.secure {
            certify(directory, true);
        }
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).expect("the directory can be written to");
        };
        write("server.properties", self.properties());
        let log = directory.join("log");
        write(
            "log4j2.properties",
            format!(
                "rootLogger.level=WARN\nrootLogger.appenderRef.file.ref=File\nappender.file.type=File\n\
                 appender.file.name=File\nappender.file.fileName={}\n\
                 appender.file.layout.type=PatternLayout\nappender.file.layout.pattern=%d %p %c %m%n\n",
                log.display()
            ),
        );
        let data = directory.join("data");
        fs::create_dir(&data).expect("the directory can be written to");
        let formatted = fs::read_dir(installed().join("formatted")).expect("it is prepared");
        for file in formatted {
            let file = file.expect("it can be read");
            let copied = fs::copy(file.path(), data.join(file.file_name()));
            copied.expect("the directory can be written to");
        }
    }

    fn properties(&self) -> String {
        let Own {
            ports,
            proxy,
            directory,
            ..
        } = self.own();
        let directory = directory.path.display();
        let Ports {
            plain,
            controller,
            tls,
            sasl,
            sasl_tls,
            proxied,
        } = ports;
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{plain}");
        if self.options.secure {
            listeners += &format!(
                ",TLS://localhost:{tls},SASL://localhost:{sasl},SASLTLS://localhost:{sasl_tls}"
            );
        }
        let mut advertised = listeners.clone();
        if let Some(proxy) = proxy {
            listeners += &format!(",PROXIED://127.0.0.1:{proxied}");
            advertised += &format!(",PROXIED://{}", proxy.servers());
        }
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners={listeners},CONTROLLER://127.0.0.1:{controller}"),
            format!("advertised.listeners={advertised}"),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,\
             SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL,PROXIED:PLAINTEXT"
                .to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("log.dirs={directory}/data"),
            "offsets.topic.num.partitions=4".to_owned(),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.num.partitions=4".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
        ];
        if self.options.secure {
            lines.push("ssl.keystore.type=PEM".to_owned());
            lines.push(format!("ssl.keystore.location={directory}/keystore.pem"));
            lines.push("sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned());
            if self.options.client_certificates {
                lines.push("listener.name.tls.ssl.client.auth=required".to_owned());
                lines.push("ssl.truststore.type=PEM".to_owned());
                lines.push(format!(
                    "ssl.truststore.location={directory}/certificate.pem"
                ));
            }
            let module = "org.apache.kafka.common.security";
            for listener in ["sasl", "sasltls"] {
                let of = format!("listener.name.{listener}");
                lines.push(format!(
                    "{of}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required \
                     user_alice=\"alice-secret\";"
                ));
                for mechanism in ["256", "512"] {
                    lines.push(format!(
                        "{of}.scram-sha-{mechanism}.sasl.jaas.config={module}.scram.ScramLoginModule \
                         required;"
                    ));
                }
            }
        }
        lines.extend(self.options.properties.iter().cloned());
        lines.join("\n")
    }

    /// The arguments of `java` that run the server.
    fn arguments(&self) -> Vec<String> {
        let directory = &self.own().directory.path;
        let mut arguments = vec!["-XX:+UseSerialGC".to_owned(), "-Xmx512m".to_owned()];
        if !self.options.warm {
            arguments.push("-XX:TieredStopAtLevel=1".to_owned());
        }
        let installed = installed();
        let classes = installed.join("classes.jsa");
        if classes.exists() {
            arguments.push(format!("-XX:SharedArchiveFile={}", classes.display()));
        }
        let log = directory.join("log4j2.properties");
        arguments.push(format!("-Dlog4j2.configurationFile={}", log.display()));
        arguments.push("-cp".to_owned());
        arguments.push(path(&installed.join("jars").join("*")));
        arguments.push("kafka.Kafka".to_owned());
        arguments.push(path(&directory.join("server.properties")));
        arguments
    }

    fn try_launch(&mut self) -> bool {
        let arguments = self.arguments();
        self.own_mut().process = Some(Process::start("java", &arguments));
        let limit = Instant::now() + Duration::from_secs(300);
        loop {
            if answers(&self.servers).unwrap_or(false) {
                return true;
            }
            let process = self.own_mut().process.as_mut();
            if process.is_none_or(Process::has_ended) || Instant::now() > limit {
                eprintln!("{}", self.log());
                self.kill();
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn process(&self) -> &Process {
        self.own().process.as_ref().expect("the server is running")
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a server of the test's own")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own.as_mut().expect("a server of the test's own")
    }
}

/// Returns whether the metadata of a server, the first request of clients, has a broker.
fn answers(server: &str) -> io::Result<bool> {
    /// `Metadata`, version 1, of no topics, by a client without a name.
    const REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(&REQUEST)?;
    // The size, the id, and the number of brokers.
    let mut response = [0; 12];
    stream.read_exact(&mut response)?;
    Ok(response[8..] != [0; 4])
}

/// The directory in which `scripts/brokers` has installed Kafka: its jars, a formatted directory, and an archive of its
/// classes, which depends on the spelling of the path.
fn installed() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
    let installed = target.join(format!("kafka-{VERSION}"));
    assert!(
        installed.join("formatted").exists(),
        "Kafka {VERSION} is missing: run `scripts/test`, which fetches what the tests need"
    );
    need("java");
    installed.canonicalize().expect("the directory is there")
}

fn path(path: &Path) -> String {
    path.to_str().expect("paths are UTF-8").to_owned()
}
