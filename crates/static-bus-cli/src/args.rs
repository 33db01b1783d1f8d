//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use static_bus_remote::DeadLetterFilter;

/// Shows where the messages on a broker are: topics, groups with their lag, and dead letters.
///
/// Exit status: 0 when it is done, 1 when the broker failed or refused, 2 when the command line is wrong.
#[derive(Parser)]
#[command(name = "static-bus", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON, one object for each line
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// The connection to the broker.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The broker: redis://[[user]:password@]host[:port][/database], redis+sentinel:// or redis-cluster:// with several
    /// hosts, rediss for TLS, kafka://[user:password@]host:port[,host:port], sqlite:path of a file, or
    /// postgres://[user[:password]@]host[:port]/database[?sslmode=verify-full]. A password on the command line is visible to
    /// other users of the machine: prefer the environment variable. The password of the Sentinels themselves is in the
    /// environment variable STATIC_BUS_SENTINEL_PASSWORD
    #[arg(
        long,
        global = true,
        env = "STATIC_BUS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub bus: Option<String>,
    /// The prefix of all names on the broker, as the services have it [default: static-bus, and static_bus in a database]
    #[arg(long, global = true, env = "STATIC_BUS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// The longest time that a request to the broker takes
    #[arg(long, global = true, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// The certificate authority of Redis or Kafka, in PEM, instead of those of the operating system
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Encrypt the connection to Kafka
    #[arg(long, global = true)]
    pub tls: bool,
    /// The certificate of this client for Kafka, in PEM
    #[arg(long, global = true, requires = "tls_key", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the certificate of this client, in PEM
    #[arg(long, global = true, requires = "tls_certificate", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The mechanism of authentication to Kafka, if the URL has a user
    #[arg(long, global = true, value_enum, default_value_t = Mechanism::ScramSha512)]
    pub sasl: Mechanism,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// The password is sent as it is: use it with --tls
    Plain,
    #[value(name = "scram-sha-256")]
    ScramSha256,
    #[value(name = "scram-sha-512")]
    ScramSha512,
}

#[derive(Subcommand)]
pub enum Command {
    /// List the topics, with the number of stored records
    Topics(Selection),
    /// List the groups, with their lag, their members and their oldest records
    Groups(Groups),
    /// List, show, replay or discard messages that could not be handled
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Show lag and rates of all groups again and again
    Watch(Watch),
    /// Serve a web page of lag, rates and dead letters on this machine
    Serve(Serve),
}

/// A selection of messages.
#[derive(Args, Default, Clone)]
pub struct Selection {
    /// Only this message: orders.place, or "command orders.place"
    #[arg(long, value_name = "NAME")]
    pub message: Option<String>,
}

#[derive(Args)]
pub struct Groups {
    #[command(flatten)]
    pub selection: Selection,
    /// Only this group
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// The time since its sending after which a record that a member has, and keeps, counts as stuck
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub stuck_after: Duration,
}

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// List dead letters, the oldest first
    List(List),
    /// Show dead letters completely
    Show {
        /// The positions, as `list` prints them
        #[arg(required = true)]
        position: Vec<String>,
    },
    /// Send messages again, to the group that could not handle them
    Replay(Change),
    /// Remove dead letters
    Discard(Change),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    pub filter: Filter,
    /// Only dead letters after this position
    #[arg(long, value_name = "POSITION")]
    pub after: Option<String>,
    /// The greatest number of dead letters
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pub limit: usize,
}

/// Conditions, which dead letters must all meet.
#[derive(Args, Default, Clone)]
pub struct Filter {
    /// Only this message: orders.place, or "command orders.place"
    #[arg(long, value_name = "NAME")]
    pub message: Option<String>,
    /// Only this group
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Only errors that contain this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub error: Option<String>,
    /// Only if the last failure was longer ago than this: 90s, 5m, 1h, 2d
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub older_than: Option<Duration>,
    /// Only if the last failure was more recent than this
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub younger_than: Option<Duration>,
}

/// Dead letters that are to be replayed or discarded.
#[derive(Args)]
pub struct Change {
    /// The positions, as `list` prints them
    pub position: Vec<String>,
    #[command(flatten)]
    pub filter: Filter,
    /// All dead letters
    #[arg(long)]
    pub all: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct Watch {
    #[command(flatten)]
    pub groups: Groups,
    /// The time between two samples
    #[arg(long, default_value = "2s", value_parser = interval, value_name = "DURATION")]
    pub interval: Duration,
    /// The number of samples [default: no limit]
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Serve {
    /// The address of the page, on a loopback interface; port 0 is any free port
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Allow to replay and discard dead letters
    #[arg(long)]
    pub allow_changes: bool,
    /// The time between two samples
    #[arg(long, default_value = "5s", value_parser = interval, value_name = "DURATION")]
    pub interval: Duration,
    /// The time since its sending after which a record that a member has, and keeps, counts as stuck
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub stuck_after: Duration,
}

impl Filter {
    /// Returns `true` if there are no conditions.
    pub fn is_empty(&self) -> bool {
        let Filter {
            message,
            group,
            error,
            older_than,
            younger_than,
        } = self;
        message.is_none()
            && group.is_none()
            && error.is_none()
            && older_than.is_none()
            && younger_than.is_none()
    }

    /// The filter, with ages that count from now on.
    pub fn build(&self) -> DeadLetterFilter {
        let mut filter = DeadLetterFilter::default();
        if let Some(message) = &self.message {
            filter = filter.message(message);
        }
        if let Some(group) = &self.group {
            filter = filter.group(group);
        }
        if let Some(error) = &self.error {
            filter = filter.error(error);
        }
        if let Some(age) = self.older_than {
            filter = filter.older_than(age);
        }
        if let Some(age) = self.younger_than {
            filter = filter.younger_than(age);
        }
        filter
    }
}

/// Parses a duration such as `90s` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration is a number and a unit, such as 90s, 5m, 1h or 2d".to_owned())
}

/// Parses the time between two samples.
fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        interval if interval < Duration::from_millis(100) => {
            Err("the shortest interval is 100ms".to_owned())
        }
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_of_the_guide_is_a_command() {
        let guide = include_str!("../../../docs/guide/src/operating.md");
        let fenced = guide.lines().filter(|line| line.starts_with("static-bus "));
        let inline = guide.split('`').skip(1).step_by(2);
        let inline = inline.filter(|code| code.starts_with("static-bus ") && !code.contains('\n'));
        let commands: Vec<_> = fenced.chain(inline).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for command in commands {
            let (command, _) = command.split_once(" | ").unwrap_or((command, ""));
            if let Err(refusal) = Cli::try_parse_from(command.split(' ')) {
                panic!("{command}: {refusal}");
            }
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h 30m", 5400), ("2d", 172_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
