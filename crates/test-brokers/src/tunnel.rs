//! A network between a server and its clients: with a bandwidth, and a server behind its address that may change.
//!
//! It takes what is sent at once, and delivers it as fast as the bandwidth allows: a sender whose call has ended knows nothing of
//! what arrives. The buffers of a system do the same for as much as they hold, which is a few megabytes on some machines.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// An address of its own for a server of this machine. It runs until this process ends.
pub struct Tunnel {
    port: u16,
    route: Arc<Route>,
}

struct Route {
    /// The port of the server for new connections.
    server: AtomicU16,
    /// The number of times that connections were forgotten.
    forgotten: AtomicU64,
    /// To the server, and to the clients.
    directions: [Direction; 2],
}

/// One direction of all connections together.
struct Direction {
    /// Bits in a second; 0 for no bound.
    bandwidth: AtomicU64,
    /// The time at which all bytes so far have passed.
    passed: Mutex<Instant>,
    bytes: AtomicU64,
}

impl Tunnel {
    /// A tunnel to the server at this port, which may be started later.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let direction = || Direction {
            bandwidth: AtomicU64::new(0),
            passed: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
        };
        let route = Arc::new(Route {
            server: AtomicU16::new(server),
            forgotten: AtomicU64::new(0),
            directions: [direction(), direction()],
        });
        let tunnel = Tunnel {
            port,
            route: route.clone(),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                // While the server is down, connections are closed.
                let server = route.server.load(Ordering::Relaxed);
                let server = TcpStream::connect(("127.0.0.1", server));
                if let (Ok(client), Ok(server)) = (client, server) {
                    connect(client, server, &route).expect("files can be opened");
                }
            }
        });
        tunnel
    }

    /// `127.0.0.1:port`.
    pub fn host_and_port(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the bandwidth of each direction in bits per second; 0 for no bound.
    pub fn set_bandwidth(&self, bits_per_second: u64) {
        for direction in &self.route.directions {
            direction
                .bandwidth
                .store(bits_per_second, Ordering::Relaxed);
        }
    }

    /// Leads new connections to the server at this port. The others stay where they are.
    pub fn lead_to(&self, server: u16) {
        self.route.server.store(server, Ordering::Relaxed);
    }

    /// From now on, what is sent through the connections that are open is lost, as behind a firewall that has forgotten
    /// them. They stay open, and new ones work.
    pub fn forget(&self) {
        self.route.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of bytes that have passed to clients.
    pub fn received(&self) -> u64 {
        self.route.directions[1].bytes.load(Ordering::Relaxed)
    }
}

fn connect(client: TcpStream, server: TcpStream, route: &Arc<Route>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ways = [(client.try_clone()?, server.try_clone()?), (server, client)];
    let forgotten = route.forgotten.load(Ordering::Relaxed);
    for (direction, (from, to)) in ways.into_iter().enumerate() {
        let (sent, arriving) = mpsc::channel();
        let source = from.try_clone()?;
        thread::spawn(move || read(&source, &sent));
        let route = route.clone();
        thread::spawn(move || {
            let is_known = || route.forgotten.load(Ordering::Relaxed) == forgotten;
            // One of the two may be closed.
            _ = route.directions[direction].deliver(&arriving, &to, is_known);
            _ = from.shutdown(Shutdown::Both);
            _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// Reads until the connection ends, or nobody wants more.
fn read(mut from: &TcpStream, sent: &mpsc::Sender<Vec<u8>>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes)
        && sent.send(bytes[..length].into()).is_ok()
    {}
}

impl Direction {
    /// Delivers what was sent until the connection ends.
    fn deliver(
        &self,
        sent: &mpsc::Receiver<Vec<u8>>,
        mut to: &TcpStream,
        is_known: impl Fn() -> bool,
    ) -> io::Result<()> {
        for bytes in sent {
            self.pass(bytes.len() as u64);
            if is_known() {
                to.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// Waits until this number of bytes has passed.
    fn pass(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let bandwidth = self.bandwidth.load(Ordering::Relaxed);
        if bandwidth == 0 {
            return;
        }
        let now = Instant::now();
        let until = {
            let mut passed = self.passed.lock().expect("no panic while it is locked");
            let time = Duration::from_secs_f64(bytes as f64 * 8.0 / bandwidth as f64);
            *passed = now.max(*passed) + time;
            *passed
        };
        thread::sleep(until - now);
    }
}
