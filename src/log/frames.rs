//! The frames of a log, segment by segment, each one checked.

use super::format::{FRAME_HEAD, FrameHead, Mark, SEGMENT, SegmentHead, fill, unseal};
use super::{LogError, files};
use crate::time::Time;
use alloc::{format, string::String, vec::Vec};
use core::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Frames {
    log: PathBuf,
    names: &'static [&'static str],
    segments: Vec<(u64, PathBuf)>,
    /// The index of the segment that is being read.
    index: usize,
    segment: Segment,
    /// The number of inputs before the next frame.
    pub(super) position: u64,
    /// The time of the input before the next frame.
    pub(super) last: Time,
    /// The segment has the mark that there is another one.
    continued: bool,
}

/// What [`Frames::next`] finds.
pub(super) enum Found {
    Inputs(Frame),
    /// The run ended, at this time.
    End(Time),
    /// The last frame was not written whole.
    Torn(Torn),
}

/// A frame of inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) offset: u64,
    /// The time of the input before.
    pub(super) base: Time,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// The number of inputs in the log.
    pub position: u64,
    /// The time at which the run ended; `None` if it did not [`end`](super::Writer::end), such as one that
    /// was killed.
    pub end: Option<Time>,
    /// The last frame, if it was not written whole.
    pub torn: Option<Torn>,
}

/// The rest of a frame at the end of a log, of which the process or the machine stopped in the middle.
///
/// None of its inputs is read; they were not [`recorded`](super::Writer::recorded).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The last segment of the log.
    pub file: PathBuf,
    /// The position of the frame in the file, in bytes. The file is whole up to there.
    pub offset: u64,
    /// The number of bytes that are left of the frame.
    pub bytes: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn {
            file,
            offset,
            bytes,
        } = self;
        let file = file.display();
        write!(
            f,
            "{file} ends within a frame: its {bytes} bytes from byte {offset} on are not read"
        )
    }
}

impl Frames {
    /// The frames from the segment on that has the input at `position`, or the last one.
    pub(super) fn at(
        log: &Path,
        names: &'static [&'static str],
        position: u64,
    ) -> Result<Self, LogError> {
        let segments = files::segments(log)?;
        let mut index = 0;
        let mut segment = Segment::open(&segments[0])?;
        if segment.head.position > position {
            let file = files::segment(log, segment.head.segment - 1);
            return Err(LogError::MissingSegment { file });
        }
        // A segment that cannot be opened is reported when the ones before it have been read.
        while let Some(next) = segments.get(index + 1)
            && let Ok(next) = Segment::open(next)
            && next.head.position <= position
        {
            segment = next;
            index += 1;
        }
        check_names(&segments[index].1, names, &segment.head.names)?;
        Ok(Frames {
            log: log.into(),
            names,
            index,
            position: segment.head.position,
            last: segment.head.last,
            segment,
            segments,
            continued: false,
        })
    }

    /// The frames of the last segment, all read.
    pub(super) fn tail(
        log: &Path,
        names: &'static [&'static str],
    ) -> Result<(Self, Tail), LogError> {
        let mut frames = Frames::at(log, names, u64::MAX)?;
        let (mut end, mut torn, mut body) = (None, None, Vec::new());
        while let Some(found) = frames.next(&mut body)? {
            match found {
                Found::Inputs(_) => end = None,
                Found::End(time) => end = Some(time),
                Found::Torn(rest) => {
                    torn = Some(rest);
                    break;
                }
            }
        }
        let position = frames.position;
        Ok((
            frames,
            Tail {
                position,
                end,
                torn,
            },
        ))
    }

    /// The path of the log, and the names of the program's messages.
    pub(super) fn source(&self) -> (&Path, &'static [&'static str]) {
        (&self.log, self.names)
    }

    /// The file that is being read.
    pub(super) fn file(&self) -> &Path {
        &self.segments[self.index].1
    }

    /// The identity of the log.
    pub(super) fn id(&self) -> u64 {
        self.segment.head.log
    }

    /// The number of the segment that is being read.
    pub(super) fn number(&self) -> u64 {
        self.segment.head.segment
    }

    /// Reads the next frame, and its body into `body`; `None` at the end of the log.
    pub(super) fn next(&mut self, body: &mut Vec<u8>) -> Result<Option<Found>, LogError> {
        loop {
            let offset = self.segment.offset;
            let mut head = [0; FRAME_HEAD];
            match self.read(|reader| fill(reader, &mut head))? {
                0 if self.index + 1 < self.segments.len() => self.enter_next()?,
                0 if self.continued => {
                    let file = files::segment(&self.log, self.number() + 1);
                    return Err(LogError::MissingSegment { file });
                }
                0 => return Ok(None),
                FRAME_HEAD => match FrameHead::from_bytes(&head) {
                    Ok(head) => {
                        if let Some(found) = self.body(offset, head, body)? {
                            return Ok(Some(found));
                        }
                    }
                    // A file system may have the length of a file on the disk, and not yet its bytes.
                    Err(_) if head == [0; FRAME_HEAD] && self.only_zeros_follow()? => {
                        return self.torn(offset);
                    }
                    Err((expected, found)) => {
                        return Err(LogError::corrupt(self.file(), offset, expected, found));
                    }
                },
                _ => return self.torn(offset),
            }
        }
    }

    /// Reads a body; `None` for the mark that another segment follows.
    fn body(
        &mut self,
        offset: u64,
        head: FrameHead,
        body: &mut Vec<u8>,
    ) -> Result<Option<Found>, LogError> {
        let length = u64::from(head.length);
        body.clear();
        let read = self.read(|reader| reader.take(length).read_to_end(body))?;
        if (read as u64) < length {
            return self.torn(offset);
        }
        let found = crc32c::crc32c(body);
        if found != head.crc {
            return Err(LogError::corrupt(self.file(), offset, head.crc, found));
        }
        self.segment.offset = offset + FRAME_HEAD as u64 + length;
        if head.inputs == 0 {
            self.continued = body[..] == [Mark::Continued as u8];
            body.clear();
            return Ok((!self.continued).then_some(Found::End(head.last)));
        }
        self.position += u64::from(head.inputs);
        let base = core::mem::replace(&mut self.last, head.last);
        Ok(Some(Found::Inputs(Frame { offset, base })))
    }

    /// The end of a log in the middle of a frame, which only the last segment may have.
    fn torn(&self, offset: u64) -> Result<Option<Found>, LogError> {
        let file = self.file().into();
        if self.index + 1 < self.segments.len() || self.continued {
            return Err(LogError::CutShort { file, offset });
        }
        let bytes = self.segment.length.saturating_sub(offset);
        Ok(Some(Found::Torn(Torn {
            file,
            offset,
            bytes,
        })))
    }

    fn enter_next(&mut self) -> Result<(), LogError> {
        let segment = Segment::open(&self.segments[self.index + 1])?;
        let file = &self.segments[self.index + 1].1;
        check_names(file, self.names, &segment.head.names)?;
        if segment.head.log != self.id() {
            return Err(LogError::Foreign { file: file.clone() });
        }
        if segment.head.position != self.position {
            return Err(LogError::MissingInputs {
                file: file.clone(),
                expected: segment.head.position,
                found: self.position,
            });
        }
        self.index += 1;
        self.segment = segment;
        self.continued = false;
        Ok(())
    }

    fn only_zeros_follow(&mut self) -> Result<bool, LogError> {
        let mut rest = [0; 4096];
        loop {
            match self.read(|reader| fill(reader, &mut rest))? {
                0 => return Ok(true),
                read if rest[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }

    fn read(
        &mut self,
        read: impl FnOnce(&mut BufReader<File>) -> std::io::Result<usize>,
    ) -> Result<usize, LogError> {
        read(&mut self.segment.reader).map_err(|error| LogError::io(self.file(), error))
    }
}

/// A segment that is being read.
#[derive(Debug)]
struct Segment {
    head: SegmentHead,
    reader: BufReader<File>,
    /// The position of the next frame in the file.
    offset: u64,
    length: u64,
}

impl Segment {
    fn open((number, file): &(u64, PathBuf)) -> Result<Self, LogError> {
        let unreadable = |error| LogError::io(file, error);
        let opened = File::open(file).map_err(unreadable)?;
        let length = opened.metadata().map_err(unreadable)?.len();
        let mut reader = BufReader::new(opened);
        let (head, offset) = unseal(file, SEGMENT, &mut reader)?;
        let head: SegmentHead = match postcard::from_bytes(&head) {
            Ok(head) => head,
            Err(_) => return Err(LogError::NotALog { file: file.clone() }),
        };
        if head.segment != *number {
            return Err(LogError::Foreign { file: file.clone() });
        }
        Ok(Segment {
            head,
            reader,
            offset,
            length,
        })
    }
}

/// Compares the messages of a log with those of the program, which may have more at the end.
fn check_names(file: &Path, program: &[&str], log: &[String]) -> Result<(), LogError> {
    if program.len() >= log.len() && program.iter().zip(log).all(|(a, b)| a == b) {
        return Ok(());
    }
    let listed = |names: Vec<&str>| names.join(", ");
    let removed = log
        .iter()
        .map(String::as_str)
        .filter(|name| !program.contains(name));
    let added = program
        .iter()
        .copied()
        .filter(|name| !log.iter().any(|it| it == name));
    let (removed, added) = (listed(removed.collect()), listed(added.collect()));
    let difference = match (&removed[..], &added[..]) {
        ("", "") => format!("reordered to {}", listed(program.to_vec())),
        ("", added) => format!("added {added}, not at the end"),
        (removed, "") => format!("removed {removed}"),
        (removed, added) => format!("removed {removed}, and added {added}"),
    };
    let log = listed(log.iter().map(String::as_str).collect());
    Err(LogError::Messages {
        file: file.into(),
        difference: format!("{difference}; list those of the log first, in its order: {log}"),
    })
}
