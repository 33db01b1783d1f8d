//! The reader of a feed.

use std::{
    io::{self, BufRead, BufReader},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{Frame, Opening, Stop, VERSION, process::Process};
use crate::messages::Tick;

/// The time in which a feed sends its opening.
const PATIENCE: Duration = Duration::from_secs(10);

/// A feed that is connected.
pub struct Feed {
    address: String,
    stream: BufReader<TcpStream>,
    opening: Opening,
    /// The number of ticks read.
    read: u64,
    /// `None` if the feed was started by someone else.
    process: Option<Process>,
}

impl Feed {
    /// Starts a feed in a process of its own.
    pub fn start(speed_up: f64, stop: &Stop) -> Result<Self, String> {
        let (process, address) = Process::start(speed_up)?;
        let feed = Self::connect(&address, stop)?;
        Ok(Self {
            process: Some(process),
            ..feed
        })
    }

    /// Connects to the feed at this address.
    pub fn connect(address: &str, stop: &Stop) -> Result<Self, String> {
        let failed = |failure: io::Error| {
            format!(
                "{address}: no feed ({failure}); start one with `live feed --port PORT`, or leave out --feed"
            )
        };
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut stream = BufReader::new(stream);
        let opening = match read_frame(&mut stream) {
            Ok(Frame::Opening(opening)) if opening.version == VERSION => opening,
            Ok(Frame::Opening(Opening { version, .. })) => {
                return Err(format!(
                    "{address}: a feed of version {version}, and this program reads version {VERSION}; \
                     start the `live feed` of this program"
                ));
            }
            Ok(_) => return Err(failed(io::Error::other("its first line is no opening"))),
            Err(failure) => return Err(failed(failure)),
        };
        stream.get_ref().set_read_timeout(None).map_err(failed)?;
        stop.closes(stream.get_ref().try_clone().map_err(failed)?);
        Ok(Self {
            address: address.to_owned(),
            stream,
            opening,
            read: 0,
            process: None,
        })
    }

    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// The next tick; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Tick>, String> {
        match read_frame(&mut self.stream) {
            Ok(Frame::Tick(tick)) => {
                self.read += 1;
                Ok(Some(Tick {
                    read: Some(Instant::now()),
                    ..tick
                }))
            }
            Ok(Frame::End) => Ok(None),
            Ok(Frame::Opening(_)) => Err(self.failure(&"a second opening")),
            Err(failure) => Err(self.failure(&failure)),
        }
    }

    fn failure(&mut self, failure: &dyn std::fmt::Display) -> String {
        let Self {
            address,
            read,
            opening,
            ..
        } = self;
        let ended = self.process.as_mut().and_then(|process| process.end().ok());
        let ended = ended.map_or_else(String::new, |status| {
            format!(", its process ended with {status}")
        });
        format!(
            "the feed at {address} broke off after {read} of {} ticks ({failure}{ended}); \
             the log has what was read, start again for the rest",
            opening.ticks
        )
    }
}

/// Reads a line.
fn read_frame(stream: &mut impl BufRead) -> io::Result<Frame> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&line).map_err(|_| {
        let line: String = line.trim_end().chars().take(40).collect();
        io::Error::other(format!("it sent {line:?}"))
    })
}
