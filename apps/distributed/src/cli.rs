//! The command line.

use std::env;

use clap::{Parser, ValueEnum};

/// A shop of four modules: on one bus, on one for each module, or in several processes.
#[derive(Parser)]
#[command(name = "distributed")]
pub struct Cli {
    /// The connection between the modules [default: local, and sqlite with --serve or --drive]
    #[arg(long, value_enum)]
    bus: Option<Bus>,
    /// The file of `--bus sqlite` (default: sqlite: and shop.db in the directory for temporary files), the server of
    /// `--bus redis` (default: REDIS_URL, or redis://127.0.0.1:6379), those of `--bus kafka` (default: KAFKA_BOOTSTRAP, or
    /// 127.0.0.1:9092), or the database of `--bus postgres` (default: DATABASE_URL, or
    /// postgres://postgres:postgres@127.0.0.1:5432/postgres)
    #[arg(long)]
    url: Option<String>,
    /// The prefix of all names on that server, and of the tables in a database
    #[arg(long, default_value = "shop")]
    pub namespace: String,
    /// Serve these modules until Ctrl-C, for processes on the same server [default: all of them, and --drive]
    #[arg(long, value_enum, value_delimiter = ',')]
    serve: Vec<Module>,
    /// Place a few orders, and print their outcomes
    #[arg(long)]
    drive: bool,
    /// The OpenTelemetry collector that receives spans, such as http://localhost:4318 [default: none]
    #[arg(long)]
    pub traces: Option<String>,
    /// Keep all modules but `users` on one bus, and place the orders there
    #[arg(long, conflicts_with = "serve")]
    pub extract_users: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// One bus, and no broker
    Local,
    /// A bus for each module, and a broker in this process
    Memory,
    /// A bus for each module, and a file as the broker
    Sqlite,
    /// A bus for each module, and PostgreSQL
    Postgres,
    /// A bus for each module, and Redis
    Redis,
    /// A bus for each module, and Kafka
    Kafka,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Module {
    Users,
    Inventory,
    Notifications,
    Orders,
}

/// The tasks of this process.
pub struct Part {
    pub serves: Vec<Module>,
    pub drives: bool,
}

impl Cli {
    /// The tasks of this process on a broker. Default: all of them.
    pub fn part(&self) -> Part {
        let serves = match (self.drive, self.extract_users) {
            (false, true) => vec![Module::Users],
            (false, false) if self.serve.is_empty() => Module::value_variants().to_vec(),
            _ => self.serve.clone(),
        };
        Part {
            serves,
            drives: self.drive || self.serve.is_empty(),
        }
    }

    /// The connection between the modules. Default: a file for several processes, and one bus for one process.
    pub fn bus(&self) -> Bus {
        let default = match self.is_part() {
            true => Bus::Sqlite,
            false => Bus::Local,
        };
        self.bus.unwrap_or(default)
    }

    /// Returns `true` if other processes do the rest.
    fn is_part(&self) -> bool {
        self.drive || !self.serve.is_empty()
    }

    /// # Errors
    /// If the options need other processes, and the bus is not shared with them.
    pub fn check(&self) -> Result<(), String> {
        let alone = matches!(self.bus(), Bus::Local | Bus::Memory);
        if alone && self.is_part() {
            return Err(
                "--serve and --drive are for several processes, which need --bus sqlite (the default), postgres, redis or kafka; \
                 without them this process does everything"
                    .to_owned(),
            );
        }
        if self.bus() == Bus::Local && self.extract_users {
            return Err(
                "--extract-users needs a broker: --bus memory, sqlite, postgres, redis or kafka"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The server or the file, from `--url`, the environment, or the default.
    #[cfg_attr(
        not(any(
            feature = "sqlite",
            feature = "postgres",
            feature = "redis",
            feature = "kafka"
        )),
        expect(dead_code)
    )]
    pub fn url(&self) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let (variable, default) = match self.bus() {
            Bus::Sqlite => {
                let file = env::temp_dir().join("shop.db");
                return format!("sqlite:{}", file.display());
            }
            Bus::Postgres => (
                "DATABASE_URL",
                "postgres://postgres:postgres@127.0.0.1:5432/postgres",
            ),
            Bus::Kafka => ("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            Bus::Local | Bus::Memory | Bus::Redis => ("REDIS_URL", "redis://127.0.0.1:6379"),
        };
        env::var(variable).unwrap_or_else(|_| default.to_owned())
    }
}
