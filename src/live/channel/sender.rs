//! The side of the threads that post.

use super::{PostError, Shared, TryPostError, Undelivered};
use crate::dispatch::PostMessage;
use crate::handler::{CommandHandler, EventHandler};
use crate::mailbox::ListedIn;
use crate::message::{Command, Event, Message};
use alloc::sync::Arc;
use concurrent_queue::PushError;
use core::{fmt, hint, sync::atomic::Ordering};
use std::thread;

/// The side of a [`channel`](super::channel()) that posts. Its clones post to the same channel.
///
/// It is a bus that can post each message of `M` ([`PostMessage`]), a handler of each command of `M`, and
/// a subscriber of each event of `M` that is `Clone`.
///
/// Dropping a sender loses nothing that it posted. Dropping the last one closes the channel: the receiver
/// takes what is left, and then ends.
pub struct Sender<M> {
    shared: Arc<Shared<M>>,
    wait: Wait,
}

/// The way in which [`Sender::post`] waits for space in a full channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Keeps the core busy: the shortest reaction, for a core of its own.
    Spin,
    /// Gives the core to another thread that can run ([`thread::yield_now`]), if there is one.
    Yield,
    /// Sleeps until the receiver has taken a message.
    #[default]
    Park,
}

impl<M> Sender<M> {
    pub(super) fn new(shared: Arc<Shared<M>>) -> Self {
        Sender {
            shared,
            wait: Wait::default(),
        }
    }

    /// Sets the way in which this sender, and later clones of it, wait. Default: [`Wait::Park`].
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Posts a message, or gives it back at once.
    ///
    /// ```
    /// use static_bus::{live::{self, TryPostError}, prelude::*};
    /// #[derive(Debug, PartialEq)]
    /// struct Tick(u32);
    /// event!(Tick, name = "clock.tick");
    /// mailbox! { enum Input { event Tick } }
    ///
    /// let (sender, receiver) = live::channel::<Input>(1);
    /// assert_eq!(sender.try_post(Tick(1)), Ok(()));
    /// assert_eq!(sender.try_post(Tick(2)), Err(TryPostError::Full(Tick(2))));
    /// drop(receiver);
    /// assert_eq!(sender.try_post(Tick(3)), Err(TryPostError::Closed(Tick(3))));
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryPostError`], with the message, if the channel is full or closed.
    #[inline]
    pub fn try_post<T: Carried<M>>(&self, message: T) -> Result<(), TryPostError<T>> {
        self.push(message.wrap()).map_err(|refused| match refused {
            PushError::Full(content) => TryPostError::Full(T::unwrap(content)),
            PushError::Closed(content) => TryPostError::Closed(T::unwrap(content)),
        })
    }

    /// Posts a message. Waits while the channel is full, in the way set by
    /// [`with_wait`](Sender::with_wait).
    ///
    /// In code that is generic over [`PostMessage`], `post` has no result;
    /// [`undelivered`](Sender::undelivered) tells what could not be posted.
    ///
    /// # Errors
    ///
    /// [`PostError`], with the message, if the channel is closed, also while this call waits.
    #[inline]
    pub fn post<T: Carried<M>>(&self, message: T) -> Result<(), PostError<T>> {
        self.push_waiting(message.wrap())
            .map_err(|content| PostError(T::unwrap(content)))
    }

    /// Closes the channel: no message is accepted any more, and a `post` that waits ends with its error.
    /// The receiver takes what was accepted.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Returns true if the channel is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    /// The messages that were posted to the closed channel where no error could be returned: by
    /// [`PostMessage::post`], or by this channel's senders as handlers and subscribers. They are dropped
    /// and counted, for all senders of the channel together. `None` if there are none.
    ///
    /// ```
    /// use static_bus::{live, prelude::*};
    /// struct Stop;
    /// command!(Stop, name = "engine.stop");
    /// mailbox! { enum Input { command Stop } }
    ///
    /// let (sender, receiver) = live::channel::<Input>(8);
    /// let bus = BusBuilder::new().register_command::<Stop, _>(sender.clone()).build();
    /// bus.execute(Stop);
    /// assert_eq!(sender.undelivered(), None);
    ///
    /// drop(receiver);
    /// bus.execute(Stop);
    /// assert_eq!(
    ///     sender.undelivered().unwrap().to_string(),
    ///     "1 message was posted to a closed channel and dropped, first engine.stop: \
    ///      end the threads that post before the one that receives"
    /// );
    /// ```
    pub fn undelivered(&self) -> Option<Undelivered> {
        let first = *self.shared.first_refused.get()?;
        Some(Undelivered {
            count: self.shared.refused.load(Ordering::Relaxed),
            first,
        })
    }

    /// Takes back the oldest message that was accepted, if the receiver is dropped and will not take it.
    /// `None` while there is a receiver, and if no message is left.
    ///
    /// ```
    /// use static_bus::{live, prelude::*};
    /// struct Tick(u32);
    /// event!(Tick);
    /// mailbox! { enum Input { event Tick } }
    ///
    /// let (sender, receiver) = live::channel::<Input>(8);
    /// sender.post(Tick(1))?;
    /// assert!(sender.reclaim().is_none());
    /// drop(receiver);
    /// assert!(matches!(sender.reclaim(), Some(Input::Tick(Tick(1)))));
    /// assert!(sender.reclaim().is_none());
    /// # Ok::<_, live::PostError<Tick>>(())
    /// ```
    pub fn reclaim(&self) -> Option<M> {
        if self.shared.received.load(Ordering::Acquire) {
            return None;
        }
        self.shared.queue.pop().ok()
    }

    #[inline]
    fn push(&self, content: M) -> Result<(), PushError<M>> {
        self.shared.queue.push(content)?;
        self.shared.messages.wake();
        Ok(())
    }

    #[inline]
    fn push_waiting(&self, content: M) -> Result<(), M> {
        match self.push(content) {
            Ok(()) => Ok(()),
            Err(PushError::Full(content)) => self.wait_for_space(content),
            Err(PushError::Closed(content)) => Err(content),
        }
    }

    #[cold]
    fn wait_for_space(&self, content: M) -> Result<(), M> {
        let mut unsent = Some(content);
        let mut retry = || match self.push(unsent.take()?) {
            Ok(()) => Some(Ok(())),
            Err(PushError::Closed(content)) => Some(Err(content)),
            Err(PushError::Full(content)) => {
                unsent = Some(content);
                None
            }
        };
        loop {
            let result = match self.wait {
                Wait::Spin => {
                    hint::spin_loop();
                    retry()
                }
                Wait::Yield => {
                    thread::yield_now();
                    retry()
                }
                Wait::Park => self.shared.space.wait(None, &mut retry),
            };
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Posts a message where no error can be returned.
    #[inline]
    fn post_or_count<T: Carried<M> + Message>(&self, message: T) {
        if self.push_waiting(message.wrap()).is_err() {
            self.count_refused(T::NAME);
        }
    }

    #[cold]
    fn count_refused(&self, name: &'static str) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        self.shared.first_refused.get_or_init(|| name);
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender {
            shared: self.shared.clone(),
            wait: self.wait,
        }
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.close();
        }
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("wait", &self.wait)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Waits while the channel is full. A message for a closed channel is dropped, and counted in
/// [`Sender::undelivered`].
impl<M, T: Message + Carried<M>> PostMessage<T> for Sender<M> {
    #[inline]
    fn post(&self, message: T) {
        self.post_or_count(message);
    }
}

/// Posts the command, as [`PostMessage::post`] does.
impl<M, B: ?Sized, C: Command<Output = ()> + Carried<M>> CommandHandler<C, B> for Sender<M> {
    #[inline]
    fn handle(&self, command: C, _: &B) {
        self.post_or_count(command);
    }
}

/// Posts a clone of the event, as [`PostMessage::post`] does.
impl<M, B: ?Sized, E: Event<Output = ()> + Clone + Carried<M>> EventHandler<E, B> for Sender<M> {
    #[inline]
    fn handle(&self, event: &E, _: &B) {
        self.post_or_count(event.clone());
    }
}

/// A message that a channel of `M` carries: one listed in the [`mailbox!`](crate::mailbox!) that declares
/// `M`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be posted to the other thread: it is not in `{M}`, which the channel carries",
    label = "not listed in `{M}`",
    note = "list it in the `mailbox!` that declares `{M}`; a channel carries events and commands whose output is `()`"
)]
pub trait Carried<M>: Sized {
    #[doc(hidden)]
    fn wrap(self) -> M;
    /// The message in a content that `wrap` made.
    #[doc(hidden)]
    fn unwrap(content: M) -> Self;
}
#[diagnostic::do_not_recommend]
impl<M, T: ListedIn<M>> Carried<M> for T {
    #[inline]
    fn wrap(self) -> M {
        ListedIn::wrap(self)
    }
    #[inline]
    fn unwrap(content: M) -> Self {
        ListedIn::unwrap(content)
    }
}
