//! The side of the thread that has the bus.

use super::Shared;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::{fmt, sync::atomic::Ordering, task::Waker};
use std::time::Instant;

/// The side of a [`channel`](super::channel()) that receives. There is one.
///
/// As an iterator it waits for each message, and ends when the channel is closed and empty.
///
/// Dropping the receiver closes the channel. To lose nothing, close it and take what was accepted, here or
/// with [`Sender::reclaim`](super::Sender::reclaim):
///
/// ```
/// use static_bus::{live, prelude::*};
/// struct Tick(u32);
/// event!(Tick);
/// mailbox! { enum Input { event Tick } }
///
/// let (sender, receiver) = live::channel::<Input>(8);
/// sender.post(Tick(1))?;
/// receiver.close();
/// assert!(sender.post(Tick(2)).is_err());
/// assert_eq!(receiver.count(), 1);
/// # Ok::<_, live::PostError<Tick>>(())
/// ```
pub struct Receiver<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Receiver<M> {
    pub(super) fn new(shared: Arc<Shared<M>>) -> Self {
        Receiver { shared }
    }

    /// Takes the oldest message; `None` if there is none now.
    ///
    /// A loop that polls ends by the order of two questions: after [`is_closed`](Receiver::is_closed)
    /// returned true, `None` is final.
    ///
    /// ```
    /// # use static_bus::{live, prelude::*};
    /// # struct Tick(u32);
    /// # event!(Tick);
    /// # mailbox! { enum Input { event Tick } }
    /// # let (sender, receiver) = live::channel::<Input>(8);
    /// # sender.post(Tick(1))?;
    /// # drop(sender);
    /// let mut ticks = 0;
    /// loop {
    ///     let closed = receiver.is_closed();
    ///     match receiver.try_next() {
    ///         Some(Input::Tick(_)) => ticks += 1,
    ///         None if closed => break,
    ///         None => receiver.park_until(None),
    ///     }
    /// }
    /// assert_eq!(ticks, 1);
    /// # Ok::<_, live::PostError<Tick>>(())
    /// ```
    #[inline]
    pub fn try_next(&self) -> Option<M> {
        let content = self.shared.queue.pop().ok()?;
        self.shared.space.wake();
        Some(content)
    }

    /// Sleeps until a message waits, the channel is closed, the deadline has passed, or a
    /// [`waker`](Receiver::waker) wakes this thread. Returns at once if that is so already.
    pub fn park_until(&self, deadline: Option<Instant>) {
        let Shared { queue, woken, .. } = &*self.shared;
        self.shared.messages.wait(deadline, || {
            let woken = woken.swap(false, Ordering::Acquire);
            (woken || !queue.is_empty() || queue.is_closed()).then_some(())
        });
    }

    /// A waker that ends the present or the next call of [`park_until`](Receiver::park_until), from any
    /// thread.
    ///
    /// ```
    /// use static_bus::{live, prelude::*};
    /// use std::{sync::atomic::{AtomicBool, Ordering}, thread};
    /// struct Tick;
    /// event!(Tick);
    /// mailbox! { enum Input { event Tick } }
    ///
    /// let (_sender, receiver) = live::channel::<Input>(8);
    /// let (waker, stop) = (receiver.waker(), AtomicBool::new(false));
    /// thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         stop.store(true, Ordering::Release);
    ///         waker.wake();
    ///     });
    ///     while !stop.load(Ordering::Acquire) {
    ///         receiver.park_until(None);
    ///     }
    /// });
    /// ```
    pub fn waker(&self) -> Waker
    where
        M: Send + 'static,
    {
        Waker::from(self.shared.clone())
    }

    /// Closes the channel: no message is accepted any more. Those that were accepted are still to be
    /// taken.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Returns true if no further message is accepted. Accepted ones may be left.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    /// The number of waiting messages.
    pub fn len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Returns true if no message waits.
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }
}

impl<M> Iterator for Receiver<M> {
    type Item = M;

    /// The oldest message. Waits for one; `None` if the channel is closed and empty.
    fn next(&mut self) -> Option<M> {
        loop {
            let closed = self.is_closed();
            match self.try_next() {
                None if !closed => self.park_until(None),
                end_or_message => return end_or_message,
            }
        }
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.received.store(false, Ordering::Release);
    }
}

impl<M> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<M: Send> Wake for Shared<M> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.messages.wake();
    }
}
