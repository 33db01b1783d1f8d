//! The channel: a bounded queue into the thread of a bus, from any number of other threads.

mod error;
mod receiver;
mod sender;
mod waiters;

pub use error::{PostError, TryPostError, Undelivered};
pub use receiver::Receiver;
pub use sender::{Carried, Sender, Wait};

use alloc::sync::Arc;
use concurrent_queue::ConcurrentQueue;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::OnceLock;
use waiters::Waiters;

/// Makes a channel for the messages of `M`, an enum declared with [`mailbox!`](crate::mailbox!). It
/// holds up to `capacity` messages, and allocates here only.
///
/// The [`Sender`] posts from any thread; each of its clones posts to the same channel. The [`Receiver`]
/// belongs to the thread of the bus. Messages of one thread arrive in the order in which it posted them;
/// messages of several threads in the order in which they were accepted.
///
/// The channel is *closed* when its receiver is dropped, when all senders are dropped, or by
/// [`Sender::close`] or [`Receiver::close`]. A closed channel accepts no message, and keeps those that it
/// accepted: the receiver takes them, or [`Sender::reclaim`] if there is no receiver.
///
/// # A module of another thread
///
/// A sender is a handler of each command and a subscriber of each event that the channel carries. So it
/// stands where a module of this thread could stand, and the modules that send to it are unchanged:
///
/// ```
/// use static_bus::{live, mailbox::Cascade, prelude::*};
/// use std::{cell::Cell, thread};
///
/// struct Quote { price: u64 }
/// event!(Quote);
/// struct PlaceOrder { price: u64 }
/// command!(PlaceOrder);
/// #[derive(Clone)]
/// struct Fill { price: u64 }
/// event!(Fill);
///
/// struct Strategy;
/// impl<B: ExecuteCommand<PlaceOrder>> EventHandler<Quote, B> for Strategy {
///     fn handle(&self, quote: &Quote, bus: &B) {
///         bus.execute(PlaceOrder { price: quote.price + 1 });
///     }
/// }
///
/// struct Exchange;
/// impl<B: PublishEvent<Fill>> CommandHandler<PlaceOrder, B> for Exchange {
///     fn handle(&self, order: PlaceOrder, bus: &B) {
///         bus.publish(&Fill { price: order.price });
///     }
/// }
///
/// mailbox! { enum ToExchange { command PlaceOrder } }
/// mailbox! { enum ToStrategy { event Quote, event Fill } }
///
/// let (orders, order_receiver) = live::channel::<ToExchange>(64);
/// let (fills, fill_receiver) = live::channel::<ToStrategy>(64);
/// let quotes = fills.clone();
///
/// let exchange = thread::spawn(move || {
///     let bus = BusBuilder::new()
///         .register_command::<PlaceOrder, _>(Exchange)
///         .subscribe::<Fill, _>(fills) // the portfolio is on the other thread
///         .build();
///     for input in order_receiver {
///         input.deliver(&bus);
///     }
/// });
///
/// let cash = Cell::new(100);
/// let bus = BusBuilder::new()
///     .subscribe::<Quote, _>(Strategy)
///     .register_command::<PlaceOrder, _>(orders) // the exchange is on the other thread
///     .subscribe_fn(|fill: &Fill| cash.set(cash.get() - fill.price))
///     .build();
///
/// quotes.post(Quote { price: 6 })?;
/// for input in fill_receiver {
///     input.deliver(&bus);
///     if cash.get() < 100 {
///         break; // drops the receiver
///     }
/// }
/// assert_eq!(cash.get(), 93);
///
/// drop(bus); // and with it the sender, which closes the channel of the other thread
/// exchange.join().unwrap();
/// # Ok::<_, live::PostError<Quote>>(())
/// ```
///
/// A message that the channel does not carry is a compile error, at `build` or where it is posted.
///
/// # Two threads that post to each other
///
/// If each of two threads posts to a full channel of the other, and waits for space, both wait forever:
/// a thread that waits takes nothing from its own channel. Choose capacities that hold what can be
/// under way, post with [`try_post`](Sender::try_post) in one of the two directions, or let a third thread
/// call [`Sender::close`], which ends the wait with an error.
///
/// # Panics
///
/// If `capacity` is 0.
pub fn channel<M: Send>(capacity: usize) -> (Sender<M>, Receiver<M>) {
    assert!(
        capacity > 0,
        "a channel of capacity 0 holds no message: give it a capacity of 1 or more"
    );
    let shared = Arc::new(Shared {
        queue: ConcurrentQueue::bounded(capacity),
        messages: Waiters::default(),
        space: Waiters::default(),
        woken: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
        received: AtomicBool::new(true),
        refused: AtomicU64::new(0),
        first_refused: OnceLock::new(),
    });
    (Sender::new(shared.clone()), Receiver::new(shared))
}

/// What the senders and the receiver of a channel have in common.
struct Shared<M> {
    queue: ConcurrentQueue<M>,
    /// The receiver, if it waits for messages.
    messages: Waiters,
    /// The senders that wait for space.
    space: Waiters,
    /// A call of the waker that the receiver has not seen.
    woken: AtomicBool,
    /// The number of senders.
    senders: AtomicUsize,
    /// False when the receiver is dropped.
    received: AtomicBool,
    /// The number of messages that `PostMessage::post` could not deliver to the queue.
    refused: AtomicU64,
    /// The name of the first of them.
    first_refused: OnceLock<&'static str>,
}

impl<M> Shared<M> {
    /// Closes the channel, and ends every wait.
    fn close(&self) {
        if self.queue.close() {
            self.messages.wake();
            self.space.wake();
        }
    }
}

/// The primitives of `waiters`. Its test, `tests/channel_waiters.rs`, replaces them by those of a model
/// checker.
mod sync {
    pub(super) use core::sync::atomic::{AtomicBool, Ordering, fence};
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}
