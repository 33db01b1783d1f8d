//! The errors of posting.

use crate::message::Message;
use core::error::Error;
use core::fmt;

/// The error of [`Sender::post`](super::Sender::post): the channel is closed.
///
/// ```
/// use static_bus::{live, prelude::*};
/// struct Tick;
/// event!(Tick, name = "clock.tick");
/// mailbox! { enum Input { event Tick } }
///
/// let (sender, receiver) = live::channel::<Input>(8);
/// drop(receiver);
/// assert_eq!(
///     sender.post(Tick).unwrap_err().to_string(),
///     "cannot post clock.tick: the channel is closed: end the threads that post before the one that receives"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PostError<T>(
    /// The message.
    pub T,
);

/// The error of [`Sender::try_post`](super::Sender::try_post).
///
/// ```
/// use static_bus::{live, prelude::*};
/// struct Tick;
/// event!(Tick, name = "clock.tick");
/// mailbox! { enum Input { event Tick } }
///
/// let (sender, receiver) = live::channel::<Input>(1);
/// sender.try_post(Tick)?;
/// assert_eq!(
///     sender.try_post(Tick).unwrap_err().to_string(),
///     "cannot post clock.tick: the channel is full: try again later, wait with `post`, or give the channel more capacity"
/// );
/// # Ok::<_, live::TryPostError<Tick>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPostError<T> {
    /// The channel is full. Holds the message.
    Full(T),
    /// The channel is closed. Holds the message.
    Closed(T),
}

impl<T> TryPostError<T> {
    /// The message.
    pub fn into_message(self) -> T {
        match self {
            TryPostError::Full(message) | TryPostError::Closed(message) => message,
        }
    }
}

impl<T: Message> fmt::Display for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot post {}: the channel is closed: {END_POSTERS_FIRST}",
            T::NAME
        )
    }
}

impl<T: Message> fmt::Display for TryPostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, remedy) = match self {
            TryPostError::Full(_) => (
                "full",
                "try again later, wait with `post`, or give the channel more capacity",
            ),
            TryPostError::Closed(_) => ("closed", END_POSTERS_FIRST),
        };
        write!(
            f,
            "cannot post {}: the channel is {state}: {remedy}",
            T::NAME
        )
    }
}

/// The remedy for messages to a closed channel.
const END_POSTERS_FIRST: &str = "end the threads that post before the one that receives";

// Not derived, so that a message need not be `Debug`.
impl<T> fmt::Debug for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostError").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TryPostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            TryPostError::Full(_) => "Full",
            TryPostError::Closed(_) => "Closed",
        };
        f.debug_tuple(variant).finish_non_exhaustive()
    }
}

impl<T: Message> Error for PostError<T> {}
impl<T: Message> Error for TryPostError<T> {}

/// The messages that were dropped because the channel was closed; see
/// [`Sender::undelivered`](super::Sender::undelivered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// The number of messages.
    pub count: u64,
    /// The name of the first of them.
    pub first: &'static str,
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Undelivered { count, first } = self;
        let messages = if *count == 1 {
            "message was"
        } else {
            "messages were"
        };
        write!(
            f,
            "{count} {messages} posted to a closed channel and dropped, first {first}: {END_POSTERS_FIRST}"
        )
    }
}

impl Error for Undelivered {}
