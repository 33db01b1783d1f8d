//! The command line.

use std::env;

use clap::{Parser, ValueEnum};

/// A shop of four modules: on one bus, on one for each module, or in several processes.
#[derive(Parser)]
#[command(name = "distributed")]
pub struct Cli {
    /// The connection between the modules
    #[arg(long, value_enum, default_value_t = Bus::Local)]
    pub bus: Bus,
    /// The server of `--bus redis` [default: REDIS_URL, or redis://127.0.0.1:6379], or those of `--bus kafka`
    /// [default: KAFKA_BOOTSTRAP, or 127.0.0.1:9092]
    #[arg(long)]
    url: Option<String>,
    /// The prefix of all names on that server
    #[arg(long, default_value = "shop")]
    pub namespace: String,
    /// Serve these modules until Ctrl-C, for processes on the same server [default: all of them, and --drive]
    #[arg(long, value_enum, value_delimiter = ',')]
    serve: Vec<Module>,
    /// Place a few orders, and print their outcomes
    #[arg(long)]
    drive: bool,
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

    /// # Errors
    /// If the options need other processes, and the bus is not shared with them.
    pub fn check(&self) -> Result<(), String> {
        let alone = matches!(self.bus, Bus::Local | Bus::Memory);
        if alone && (self.drive || !self.serve.is_empty()) {
            return Err(
                "--serve and --drive are for several processes, which need --bus redis or --bus kafka; \
                 without them this process does everything"
                    .to_owned(),
            );
        }
        if self.bus == Bus::Local && self.extract_users {
            return Err("--extract-users needs a broker: --bus memory, redis or kafka".to_owned());
        }
        Ok(())
    }

    /// The server, from `--url`, the environment, or the default.
    #[cfg_attr(not(any(feature = "redis", feature = "kafka")), expect(dead_code))]
    pub fn url(&self) -> String {
        let (variable, default) = match self.bus {
            Bus::Kafka => ("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            _ => ("REDIS_URL", "redis://127.0.0.1:6379"),
        };
        let url = self.url.clone().or_else(|| env::var(variable).ok());
        url.unwrap_or_else(|| default.to_owned())
    }
}
