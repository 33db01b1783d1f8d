//! The bytes of the files: what is sealed by a checksum, and the frames of a segment.
//!
//! All numbers are little-endian. A segment is a sealed [`SegmentHead`] and then frames; a snapshot is
//! sealed as a whole.
//!
//! ```text
//! sealed   magic 8 │ version u32 │ length u64 │ crc32c u32 │ body, in postcard's format
//! frame    length u32 │ inputs u32 │ last time i64 │ crc32c of the body u32 │ crc32c of this head u32 │ body
//! body     for each input: length u32 │ nanoseconds since the input before, and the input, by postcard
//! ```
//!
//! A frame without inputs is a [`Mark`]: its body is one byte.

use super::LogError;
use crate::time::Time;
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::Path;

pub(super) const VERSION: u32 = 1;
pub(super) const SEGMENT: [u8; 8] = *b"sbus-log";
pub(super) const SNAPSHOT: [u8; 8] = *b"sbus-snp";

/// The length of an input's length.
pub(super) const INPUT_HEAD: usize = 4;

/// The largest input, in bytes.
pub(super) const LARGEST: usize = 1 << 30;

const SEAL: usize = 24;

/// A body with its magic, its version, its length and its checksum.
pub(super) fn seal(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEAL + body.len());
    bytes.extend(magic);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The body of what [`seal`] returned, and the number of bytes read.
pub(super) fn unseal(
    file: &Path,
    magic: [u8; 8],
    mut reader: impl Read,
) -> Result<(Vec<u8>, u64), LogError> {
    let unreadable = |error| LogError::io(file, error);
    let mut seal = [0; SEAL];
    let read = fill(&mut reader, &mut seal).map_err(unreadable)?;
    if read < 8 || seal[..8] != magic {
        return Err(LogError::NotALog { file: file.into() });
    }
    let version = u32_at(&seal, 8);
    if read >= 12 && version != VERSION {
        let file = file.into();
        return Err(LogError::Version { file, version });
    }
    let length = u64::from_le_bytes(array_at(&seal, 12));
    let mut body = Vec::new();
    reader
        .take(length)
        .read_to_end(&mut body)
        .map_err(unreadable)?;
    let found = crc32c::crc32c_append(crc32c::crc32c(&seal[..20]), &body);
    let expected = u32_at(&seal, 20);
    if read < SEAL || (body.len() as u64) < length || found != expected {
        return Err(LogError::corrupt(file, 0, expected, found));
    }
    Ok((body, SEAL as u64 + length))
}

/// The head of a segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SegmentHead {
    /// Distinguishes logs: the same number in all segments of one log.
    pub(super) log: u64,
    pub(super) segment: u64,
    /// The number of inputs in the segments before.
    pub(super) position: u64,
    /// The time of the input before.
    pub(super) last: Time,
    pub(super) names: Vec<String>,
}

pub(super) const FRAME_HEAD: usize = 24;

#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    /// Of the body.
    pub(super) length: u32,
    /// 0 for a [`Mark`].
    pub(super) inputs: u32,
    /// The time of the last input, or of the end.
    pub(super) last: Time,
    /// Of the body.
    pub(super) crc: u32,
}

impl FrameHead {
    pub(super) fn of(body: &[u8], inputs: u32, last: Time) -> Self {
        let length = u32::try_from(body.len()).expect("a frame is of one input or a few MiB");
        let crc = crc32c::crc32c(body);
        FrameHead {
            length,
            inputs,
            last,
            crc,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; FRAME_HEAD] {
        let mut bytes = [0; FRAME_HEAD];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.inputs.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.last.as_nanos().to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// # Errors
    /// The checksum in the head, and the one of its bytes, if they differ.
    pub(super) fn from_bytes(bytes: &[u8; FRAME_HEAD]) -> Result<Self, (u32, u32)> {
        let (expected, found) = (u32_at(bytes, 20), crc32c::crc32c(&bytes[..20]));
        if expected != found {
            return Err((expected, found));
        }
        Ok(FrameHead {
            length: u32_at(bytes, 0),
            inputs: u32_at(bytes, 4),
            last: Time::from_nanos(i64::from_le_bytes(array_at(bytes, 8))),
            crc: u32_at(bytes, 16),
        })
    }
}

/// The first input of some bytes, without its length, if it is whole.
pub(super) fn first_input(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.first_chunk().copied().map(u32::from_le_bytes)?;
    bytes[INPUT_HEAD..].get(..length as usize)
}

/// The time of an input, and its bytes; `base` is the time of the input before.
pub(super) fn time_of(base: Time, input: &[u8]) -> postcard::Result<(Time, &[u8])> {
    let (nanos, input) = postcard::take_from_bytes::<u64>(input)?;
    Ok((after(base, nanos), input))
}

/// The nanoseconds between two times, of which `to` is not earlier.
#[inline]
pub(super) fn between(from: Time, to: Time) -> u64 {
    to.as_nanos().wrapping_sub(from.as_nanos()).cast_unsigned()
}

fn after(from: Time, nanos: u64) -> Time {
    Time::from_nanos(from.as_nanos().wrapping_add(nanos.cast_signed()))
}

/// What a frame without inputs says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mark {
    /// The log goes on in the next segment.
    Continued = b'c',
    /// The run ended, at the time in the head.
    End = b'e',
}

/// Reads until `bytes` are full or there is no more; returns the number read.
pub(super) fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
