//! A proxy between a Kafka server and its clients that loses answers: the server has run the request, and the
//! client does not know.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A proxy that runs until this process ends.
pub struct Proxy {
    servers: String,
    losses: Arc<Losses>,
}

/// Counts of answers to requests that append records.
#[derive(Default)]
struct Losses {
    /// Every answer with a multiple of this number is lost; none if it is 0.
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
        };
        let losses = proxy.losses.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                // While the server is down, connections are closed.
                let server = TcpStream::connect(("127.0.0.1", port));
                if let (Ok(client), Ok(server)) = (client, server) {
                    connect(client, server, losses.clone()).expect("files can be opened");
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

    /// From now on, loses nothing.
    pub fn lose_nothing(&self) {
        self.lose_every(0);
    }

    /// The number of lost answers to requests that append records.
    pub fn lost(&self) -> usize {
        self.losses.lost.load(Ordering::Relaxed)
    }
}

/// The requests without an answer, by their id; `true` for those that append records.
type Open = Mutex<HashMap<[u8; 4], bool>>;

fn connect(client: TcpStream, server: TcpStream, losses: Arc<Losses>) -> io::Result<()> {
    let open = Arc::new(Open::default());
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let asked = open.clone();
    thread::spawn(move || {
        _ = forward(&from, &to, &asked);
        close(&from, &to);
    });
    thread::spawn(move || {
        _ = answer(&server, &client, &open, &losses);
        close(&server, &client);
    });
    Ok(())
}

/// Forwards requests until one of the two connections ends.
fn forward(client: &TcpStream, mut server: &TcpStream, open: &Open) -> io::Result<()> {
    loop {
        let request = message(client)?;
        // The header: size, API key, version, and id.
        let appends = request[4..6] == [0, 0];
        let id = request[8..12].try_into().expect("four bytes");
        open.lock().unwrap().insert(id, appends);
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
        let (appends, others) = {
            let mut open = open.lock().unwrap();
            let appends = open.remove(&answer[4..8]).expect("an answer to a request");
            (appends, open.len())
        };
        is_lost |= appends && losses.is_next();
        if !is_lost {
            client.write_all(&answer)?;
            continue;
        }
        if appends {
            losses.lost.fetch_add(1, Ordering::Relaxed);
        }
        if others == 0 {
            return Ok(());
        }
    }
}

impl Losses {
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
