//! A proxy between a Kafka server and its clients that loses answers: the server has run the request, and the
//! client does not know. It can also lose requests that end a transaction, and have the bandwidth of a slow link.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The API key of requests that append records.
const PRODUCE: [u8; 2] = [0, 0];
/// The API key of requests that end a transaction.
const END_TXN: [u8; 2] = [0, 26];

/// A proxy that runs until this process ends.
pub struct Proxy {
    servers: String,
    losses: Arc<Losses>,
    link: Arc<Link>,
}

/// The link of all connections to the server.
#[derive(Default)]
struct Link {
    /// 0 for no limit.
    bytes_per_second: AtomicU64,
    /// The time at which the last request has passed.
    free_at: Mutex<Option<Instant>>,
}

/// The half of an exchange that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server has not run the request.
    Request,
    /// The server has run the request.
    Answer,
}

/// What is lost, and the counts of it.
#[derive(Default)]
struct Losses {
    /// What is lost of exchanges that end a transaction.
    transactions: Mutex<Option<Lost>>,
    /// Every answer to a request that appends records, with a multiple of this number is lost; none if it is 0.
    every: AtomicUsize,
    answers: AtomicUsize,
    lost: AtomicUsize,
}

impl Proxy {
    /// A proxy for the server at this port. The server may be started later.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let proxy = Proxy {
            servers: address.to_string(),
            losses: Arc::default(),
            link: Arc::default(),
        };
        let (losses, link) = (proxy.losses.clone(), proxy.link.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                // While the server is down, connections are closed.
                let server = TcpStream::connect(("127.0.0.1", port));
                if let (Ok(client), Ok(server)) = (client, server) {
                    let (losses, link) = (losses.clone(), link.clone());
                    connect(client, server, losses, link).expect("files can be opened");
                }
            }
        });
        proxy
    }

    /// The address, `host:port`.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// From now on, loses every `n`th answer to a request that appends records, with all later answers on its
    /// connection. The connection is closed when all its requests are answered.
    pub fn lose_every(&self, n: usize) {
        self.losses.every.store(n, Ordering::Relaxed);
    }

    /// From now on, loses each end of a transaction, and closes its connection.
    pub fn lose_transactions(&self, lost: Lost) {
        *self.losses.transactions.lock().unwrap() = Some(lost);
    }

    /// From now on, loses nothing.
    pub fn lose_nothing(&self) {
        self.lose_every(0);
        *self.losses.transactions.lock().unwrap() = None;
    }

    /// Sets the bandwidth of requests, of all connections together; 0 for no limit.
    pub fn limit(&self, bytes_per_second: u64) {
        let limit = &self.link.bytes_per_second;
        limit.store(bytes_per_second, Ordering::Relaxed);
    }

    /// The number of lost exchanges that append records or end a transaction.
    pub fn lost(&self) -> usize {
        self.losses.lost.load(Ordering::Relaxed)
    }
}

/// The API keys of requests without an answer, by the id of the request.
type Open = Mutex<HashMap<[u8; 4], [u8; 2]>>;

fn connect(
    client: TcpStream,
    server: TcpStream,
    losses: Arc<Losses>,
    link: Arc<Link>,
) -> io::Result<()> {
    let open = Arc::new(Open::default());
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let (asked, losing) = (open.clone(), losses.clone());
    thread::spawn(move || {
        _ = forward(&from, &to, &asked, &losing, &link);
        close(&from, &to);
    });
    thread::spawn(move || {
        _ = answer(&server, &client, &open, &losses);
        close(&server, &client);
    });
    Ok(())
}

/// Forwards requests until one of the two connections ends, or one of the requests is lost.
fn forward(
    client: &TcpStream,
    mut server: &TcpStream,
    open: &Open,
    losses: &Losses,
    link: &Link,
) -> io::Result<()> {
    loop {
        let request = message(client)?;
        link.pass(request.len());
        // The header: size, API key, version, and id.
        let key = request[4..6].try_into().expect("two bytes");
        let id = request[8..12].try_into().expect("four bytes");
        if losses.loses(Lost::Request, key) {
            return Ok(());
        }
        open.lock().unwrap().insert(id, key);
        server.write_all(&request)?;
    }
}

/// Forwards answers until one of the two connections ends, or one of the answers is lost.
fn answer(
    server: &TcpStream,
    mut client: &TcpStream,
    open: &Open,
    losses: &Losses,
) -> io::Result<()> {
    let mut is_lost = false;
    loop {
        let answer = message(server)?;
        let (key, others) = {
            let mut open = open.lock().unwrap();
            let key = open.remove(&answer[4..8]).expect("an answer to a request");
            (key, open.len())
        };
        is_lost |= losses.loses(Lost::Answer, key);
        if !is_lost {
            client.write_all(&answer)?;
            continue;
        }
        if others == 0 {
            return Ok(());
        }
    }
}

impl Link {
    /// Waits until a request has passed.
    fn pass(&self, bytes: usize) {
        let limit = self.bytes_per_second.load(Ordering::Relaxed);
        if limit == 0 {
            return;
        }
        let now = Instant::now();
        let until = {
            let mut free_at = self.free_at.lock().unwrap();
            let begin = free_at.unwrap_or(now).max(now);
            *free_at.insert(begin + Duration::from_secs_f64(bytes as f64 / limit as f64))
        };
        thread::sleep(until - now);
    }
}

impl Losses {
    /// Returns whether a request with this API key, or its answer, is lost.
    fn loses(&self, half: Lost, key: [u8; 2]) -> bool {
        let is_lost = match key {
            END_TXN => *self.transactions.lock().unwrap() == Some(half),
            PRODUCE => half == Lost::Answer && self.is_next(),
            _ => false,
        };
        self.lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    }

    fn is_next(&self) -> bool {
        let every = self.every.load(Ordering::Relaxed);
        every > 0 && (self.answers.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    }
}

/// A whole request or answer, with its size.
fn message(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut message = vec![0; 4 + u32::from_be_bytes(size) as usize];
    message[..4].copy_from_slice(&size);
    from.read_exact(&mut message[4..])?;
    Ok(message)
}

fn close(one: &TcpStream, other: &TcpStream) {
    // One of the two may be closed.
    _ = one.shutdown(Shutdown::Both);
    _ = other.shutdown(Shutdown::Both);
}
