//! SQLite.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use sqlx::{
    Error, Pool, Row as _, SqlStr, Sqlite,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use static_bus_remote::{
    lock::lock,
    transport::{
        TransportError,
        TransportErrorKind::{Refused, TooLarge, Unauthorized, Unreachable},
    },
};
use tokio::time::{Instant, sleep};

use super::{
    super::{
        errors::{failure, is_conflict},
        settings::Settings,
        wake::Wakers,
    },
    Argument, Connections, Dialect, Failure, Statements, statements_of_sqlx,
};

/// The number of connections that read. One of them watches for commits of other processes.
const READERS: u32 = 5;

/// The time between two attempts to open a new file that others write to.
const PAUSE: Duration = Duration::from_millis(10);

/// The number of rows that a connection reads ahead: those of a batch.
const ROWS: usize = 1024;

impl Dialect for Sqlite {}

impl Statements for Sqlite {
    const CONCURRENT: bool = false;
    const IS_REMOTE: bool = false;
    const WATCH_POLLS: bool = true;
    const FUNCTIONS: bool = false;
    const ANNOUNCE: Option<&'static str> = None;
    const LONG_TRANSACTIONS: Option<&'static str> = None;

    fn part(name: &str, argument: &str) -> Option<String> {
        Some(match name {
            "serial" => "integer primary key autoincrement".to_owned(),
            "bytes" => "blob".to_owned(),
            "clustered" => "without rowid".to_owned(),
            "now" => "cast(unixepoch('subsec') * 1000 as integer)".to_owned(),
            "each" => format!("json_each({argument})"),
            "int" if argument.is_empty() => "value".to_owned(),
            "int" | "text" => format!("json_extract(value, '$[{argument}]')"),
            "hex" if argument.is_empty() => "unhex(value)".to_owned(),
            "heads" => format!(
                "json_each({argument}) as strands cross join {{p}}delivery as waiting on waiting.group_id = $1 \
                 and waiting.record_id in (select record_id from {{p}}delivery {{by delivery_strand}} where group_id = $1 and \
                 strand = strands.value and until = 0 and not fresh order by record_id {{limit $5}})"
            ),
            "firsts" => format!(
                "json_each({argument}) as held cross join {{p}}outbox as o on o.id in \
                 (select id from {{p}}outbox {{by outbox_partition}} where partition_id = held.value order by id {{limit $2}})"
            ),
            // Without statistics, SQLite would not choose the partial indices.
            "by" => format!("indexed by {{i}}{argument}"),
            "versions" => {
                "create table if not exists {p}schema_version (version bigint not null)".to_owned()
            }
            "found_versions" => {
                "(select 1 from sqlite_master where name = '{p}schema_version')".to_owned()
            }
            "in" => format!("in (select value from json_each({argument}))"),
            "in_first" => {
                format!("in (select json_extract(value, '$[0]') from json_each({argument}))")
            }
            "in_keys" => format!("in (select unhex(value) from json_each({argument}))"),
            "is" => format!("= {argument}"),
            // A limit that is an argument alone is compiled into the statement, which is prepared again for each call then.
            "limit" => format!("limit +{argument}"),
            "row" => argument.to_owned(),
            "found" => "in (".to_owned(),
            "end" => ")".to_owned(),
            "queue" | "skip" | "functions" => String::new(),
            _ => return None,
        })
    }

    /// Without a name: for each argument with one, SQLite searches the list of all names.
    fn placeholder(_: usize) -> String {
        "?".to_owned()
    }

    fn prefixes(namespace: &str) -> [String; 2] {
        let prefix = format!("{namespace}_");
        [prefix.clone(), prefix]
    }

    fn begin(_: Duration, _: bool) -> String {
        "begin immediate".to_owned()
    }

    async fn open(settings: &Settings) -> Result<Connections<Sqlite>, TransportError> {
        let url = &settings.url;
        let address = Arc::<str>::from(url.split('?').next().unwrap_or_default());
        let refuse = |reason: &str| {
            Err(TransportError::new(
                Refused,
                address.clone(),
                reason.to_owned(),
            ))
        };
        let Some(path) = address.strip_prefix("sqlite:") else {
            return refuse(
                "the URL is sqlite: and the path of a file, such as sqlite:/var/lib/shop/bus.db",
            );
        };
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let is_in_memory = parameters.contains("mode=memory");
        if is_in_memory || matches!(path, "" | "//" | ":memory:" | "//:memory:") {
            return refuse(
                "a database in memory has one connection: name a file, or use MemoryBroker",
            );
        }
        let options =
            SqliteConnectOptions::from_str(url).map_err(|e| failure::<Sqlite>(&address, e))?;
        let is_missing = || match fs::metadata(options.get_filename()) {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !settings.makes_tables && is_missing() {
            return refuse(
                "there is no such file: correct the path, or start a service, which makes it",
            );
        }
        let makes_file = settings.makes_tables && !url.contains("mode=");
        let options = match makes_file {
            true => options.create_if_missing(true),
            false => options,
        };
        // Less than the deadline: the error is then that of SQLite.
        let patience = settings.deadline * 9 / 10;
        let options = options.busy_timeout(patience);
        // The thread of a connection does not wait for the reader of each row.
        let options = options.row_buffer_size(ROWS);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.deadline)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writing = match settings.makes_tables {
            true => options.clone().journal_mode(SqliteJournalMode::Wal),
            false => options.clone(),
        };
        let durable = writing.clone().synchronous(SqliteSynchronous::Full);
        let end = Instant::now() + patience;
        let durable = loop {
            match pool(1).connect_with(durable.clone()).await {
                // SQLite does not wait for other writers when it turns a new file to the write-ahead log.
                Err(e) if is_conflict::<Sqlite>(&e) && Instant::now() < end => sleep(PAUSE).await,
                Err(e) => return Err(failure::<Sqlite>(&address, e)),
                Ok(pool) => break pool,
            }
        };
        Ok(Connections {
            durable,
            volatile: pool(1).connect_lazy_with(writing.synchronous(SqliteSynchronous::Normal)),
            is_isolated: true,
            unanswered: Arc::default(),
            turn: Some(turn(options.get_filename())),
            readers: pool(READERS).connect_lazy_with(options.pragma("query_only", "on")),
            address,
        })
    }

    /// Every commit of another connection changes `data_version`.
    async fn watch(readers: Pool<Sqlite>, settings: Settings, wakers: Arc<Wakers>) {
        loop {
            if let Ok(mut connection) = readers.acquire().await {
                let mut seen = None;
                let version = || sqlx::query_scalar::<_, i64>("pragma data_version");
                while let Ok(version) = version().fetch_one(&mut *connection).await {
                    if seen.replace(version).is_some_and(|seen| seen != version) {
                        wakers.wake_all();
                    }
                    sleep(settings.poll).await;
                }
            }
            sleep(settings.poll).await;
        }
    }

    statements_of_sqlx!(query, _array => unreachable!("SQLite has no arrays"));

    fn holder(address: &str) -> String {
        let path = address.strip_prefix("sqlite:").unwrap_or(address);
        let path = path.strip_prefix("//").unwrap_or(path);
        writer(path.as_ref()).unwrap_or_default()
    }

    fn failure(code: &str) -> Failure {
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html.
        let code = code.parse().unwrap_or(0);
        match code & 0xFF {
            1 => Failure::new(
                Refused,
                "connect again if the tables are gone; a transaction must be of the database of the bus",
            ),
            3 | 23 => Failure::new(
                Unauthorized,
                "give the user of this process the permission to read and write the file",
            ),
            5 if code == 517 => Failure::conflict(
                "the transaction began with a read, and others have written since: begin it with `begin immediate`",
            ),
            5 | 6 => Failure::conflict(
                "another connection holds the lock of the file for too long: end its transaction, or raise the deadline",
            ),
            8 => Failure::new(
                Unauthorized,
                "give the user of this process the permission to write the file and its directory",
            ),
            10 => Failure::new(
                Unreachable,
                "check the disk and the file system of the file",
            ),
            11 | 26 => Failure::new(
                Refused,
                "the file is damaged, or no database of SQLite: name another one, or restore a backup",
            ),
            13 => Failure::new(
                Unreachable,
                "the disk is full, or `max_page_count` is reached: make room",
            ),
            14 => Failure::new(
                Unauthorized,
                "create the directory of the file, and give the user of this process the permission to read and write it",
            ),
            18 => Failure::new(TooLarge, "send less"),
            _ => Failure::new(Refused, "see the text of SQLite"),
        }
    }
}

/// The process with the write lock of a file, of those that Linux shows: byte 120 of the index of the write-ahead log, see
/// <https://www.sqlite.org/walformat.html#locks>.
#[cfg(target_os = "linux")]
fn writer(file: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let mut index = file.as_os_str().to_owned();
    index.push("-shm");
    let inode = format!(":{}", fs::metadata(index).ok()?.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: POSIX ADVISORY WRITE 4711 fd:01:131099 120 120`
    let id = locks.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [_, "POSIX" | "OFDLCK", _, "WRITE", id, file, "120", "120"] => {
                file.ends_with(&inode).then(|| id.to_owned())
            }
            _ => None,
        }
    })?;
    if id == std::process::id().to_string() {
        return Some("; a transaction of this process holds the lock of the file".to_owned());
    }
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Some(format!(
        "; process {id} ({}) holds the lock of the file",
        name.trim()
    ))
}

#[cfg(not(target_os = "linux"))]
fn writer(_: &Path) -> Option<String> {
    None
}

/// The lock of a file, shared by all transports of this process. SQLite itself lets connections that wait for its lock pass each other.
fn turn(file: &Path) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: Mutex<Option<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>> = Mutex::new(None);
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut turns = lock(&TURNS);
    let turns = turns.get_or_insert_default();
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&file).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::default();
    turns.insert(file, Arc::downgrade(&turn));
    turn
}
