//! The process of the feed. It serves one client, and ends.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use trading::bars::{self, Bar};

use super::{Frame, Opening, VERSION};
use crate::messages::{Moment, Tick};

const HOUR: i64 = 3_600_000_000;
/// The times of the first and the last trade of a day, in microseconds since midnight, UTC.
const OPEN: i64 = 14 * HOUR + HOUR / 2;
const CLOSE: i64 = 21 * HOUR;

/// The time for which a client is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listens on a port of this machine (0: a free one), prints the address, and streams the ticks to the
/// first client.
pub fn serve(port: u16, speed_up: f64) -> Result<(), String> {
    let bars = bars::load(None)?;
    let (listener, address) = listen(port).map_err(|failure| {
        format!("port {port} cannot be opened ({failure}); name another one with --port")
    })?;
    println!("{address}");
    let client = accept(&listener).map_err(|failure| {
        format!("{address}: no client ({failure}); start one with `live --feed {address}`")
    })?;
    stream(&client, &bars, speed_up).map_err(|failure| {
        format!("{address}: the client has gone ({failure}); start the feed again")
    })
}

fn listen(port: u16) -> io::Result<(TcpListener, std::net::SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let start = Instant::now();
    let client = loop {
        match listener.accept() {
            Ok((client, _)) => break client,
            Err(failure)
                if failure.kind() == io::ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {}
            Err(failure) => return Err(failure),
        }
        thread::sleep(Duration::from_millis(1));
    };
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// Sends each tick when it is due. After a delay, those that are overdue follow at once.
fn stream(client: &TcpStream, bars: &[Bar], speed_up: f64) -> io::Result<()> {
    send(
        client,
        &Frame::Opening(Opening {
            version: VERSION,
            speed_up,
            ticks: 2 * bars.len() as u64,
        }),
    )?;
    let start = Instant::now();
    let mut first = None;
    for (micros, tick) in ticks(bars) {
        let elapsed = (micros - *first.get_or_insert(micros)) as f64 / 1e6 / speed_up;
        let due = start + Duration::from_secs_f64(elapsed);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        send(client, &Frame::Tick(tick))?;
    }
    send(client, &Frame::End)
}

/// Each bar as two ticks, with their market times in microseconds since 1970-01-01.
pub fn ticks(bars: &[Bar]) -> impl Iterator<Item = (i64, Tick)> {
    bars.iter().enumerate().flat_map(|(bar, day)| {
        let tick = |time, moment, price| {
            let tick = Tick {
                bar,
                day: day.time.day(),
                moment,
                price,
                read: None,
            };
            (day.time.micros() + time, tick)
        };
        [
            tick(OPEN, Moment::Open, day.open),
            tick(CLOSE, Moment::Close, day.close),
        ]
    })
}

fn send(mut client: &TcpStream, frame: &Frame) -> io::Result<()> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    client.write_all(&line)
}
