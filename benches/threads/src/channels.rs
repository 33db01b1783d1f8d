//! The channels that are compared.

use crate::channel::{Channel, Halt, Input, Quote};
use disruptor::Producer;
use static_bus::live;
use std::sync::{Arc, mpsc};

/// A channel whose sender and receiver return `Result`s.
macro_rules! channels {
    ($($channel:ident $name:literal: $sender:ty, $receiver:ty = |$capacity:ident| $new:expr, $send:ident, $receive:ident;)*) => { $(
        pub struct $channel;
        impl Channel for $channel {
            const NAME: &'static str = $name;
            type Sender = $sender;
            type Receiver = $receiver;

            fn new($capacity: usize) -> (Self::Sender, Self::Receiver) {
                $new
            }
            #[inline]
            fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
                sender.$send(input).is_ok()
            }
            #[inline]
            fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
                receiver.$receive().ok()
            }
        }
    )* };
}

type Shared<Q> = Arc<Q>;

channels! {
    ConcurrentQueue "concurrent-queue (the ring of static-bus)":
        Shared<concurrent_queue::ConcurrentQueue<Input>>, Shared<concurrent_queue::ConcurrentQueue<Input>> =
        |capacity| {
            let queue = Arc::new(concurrent_queue::ConcurrentQueue::bounded(capacity));
            (queue.clone(), queue)
        }, push, pop;
    Rtrb "rtrb (one producer)": rtrb::Producer<Input>, rtrb::Consumer<Input> =
        |capacity| rtrb::RingBuffer::new(capacity), push, pop;
    Crossfire "crossfire": crossfire::MTx<crossfire::mpsc::Array<Input>>, crossfire::Rx<crossfire::mpsc::Array<Input>> =
        |capacity| crossfire::mpsc::bounded_blocking(capacity), try_send, try_recv;
    Crossbeam "crossbeam-channel": crossbeam_channel::Sender<Input>, crossbeam_channel::Receiver<Input> =
        |capacity| crossbeam_channel::bounded(capacity), try_send, try_recv;
    Std "std, `sync_channel`": mpsc::SyncSender<Input>, mpsc::Receiver<Input> =
        |capacity| mpsc::sync_channel(capacity), try_send, try_recv;
    StdUnbounded "std, `channel`": mpsc::Sender<Input>, mpsc::Receiver<Input> =
        |_capacity| mpsc::channel(), send, try_recv;
    Tokio "tokio": tokio::sync::mpsc::Sender<Input>, tokio::sync::mpsc::Receiver<Input> =
        |capacity| tokio::sync::mpsc::channel(capacity), try_send, try_recv;
    Flume "flume": flume::Sender<Input>, flume::Receiver<Input> =
        |capacity| flume::bounded(capacity), try_send, try_recv;
}

pub struct StaticBus;
impl Channel for StaticBus {
    const NAME: &'static str = "static-bus";
    type Sender = live::Sender<Input>;
    type Receiver = live::Receiver<Input>;

    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        live::channel(capacity)
    }
    #[inline]
    fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
        match input {
            Input::Quote(quote) => sender.try_post::<Quote>(quote).is_ok(),
            Input::Halt(halt) => sender.try_post::<Halt>(halt).is_ok(),
        }
    }
    #[inline]
    fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
        receiver.try_next()
    }
}

pub struct ArrayQueue;
impl Channel for ArrayQueue {
    const NAME: &'static str = "crossbeam-queue";
    type Sender = Arc<crossbeam_queue::ArrayQueue<Input>>;
    type Receiver = Arc<crossbeam_queue::ArrayQueue<Input>>;

    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        let queue = Arc::new(crossbeam_queue::ArrayQueue::new(capacity));
        (queue.clone(), queue)
    }
    #[inline]
    fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
        sender.push(input).is_ok()
    }
    #[inline]
    fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
        receiver.pop()
    }
}

pub struct Kanal;
impl Channel for Kanal {
    const NAME: &'static str = "kanal";
    type Sender = kanal::Sender<Input>;
    type Receiver = kanal::Receiver<Input>;

    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        kanal::bounded(capacity)
    }
    #[inline]
    fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
        sender.try_send(input) == Ok(true)
    }
    #[inline]
    fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
        receiver.try_recv().ok().flatten()
    }
}

/// What a channel for messages of any type has to do.
pub struct Boxed;

pub trait Message: Send {
    fn open(self: Box<Self>) -> Input;
}
impl Message for Input {
    fn open(self: Box<Self>) -> Input {
        *self
    }
}
impl Channel for Boxed {
    const NAME: &'static str = "crossbeam-channel of `Box<dyn Message>`";
    type Sender = crossbeam_channel::Sender<Box<dyn Message>>;
    type Receiver = crossbeam_channel::Receiver<Box<dyn Message>>;

    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        crossbeam_channel::bounded(capacity)
    }
    #[inline]
    fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
        // Looks first, so that a message for a full channel is not boxed in vain.
        !sender.is_full() && sender.try_send(Box::new(input)).is_ok()
    }
    #[inline]
    fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
        receiver.try_recv().ok().map(Message::open)
    }
}

/// Overwrites an event in place, so the message is copied into the ring and out of it.
macro_rules! disruptors {
    ($($channel:ident $name:literal: $build:ident, $producer:ident, $barrier:ident;)*) => { $(
        pub struct $channel;
        impl Channel for $channel {
            const NAME: &'static str = $name;
            type Sender = disruptor::$producer<Input, disruptor::SingleConsumerBarrier>;
            type Receiver = disruptor::EventPoller<Input, disruptor::$barrier>;

            fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
                let builder = disruptor::$build(capacity, || Input::Halt(Halt), disruptor::BusySpin);
                let (poller, builder) = builder.new_event_poller();
                (builder.build(), poller)
            }
            #[inline]
            fn try_send(sender: &mut Self::Sender, input: Input) -> bool {
                sender.try_publish(|event| *event = input).is_ok()
            }
            #[inline]
            fn try_receive(receiver: &mut Self::Receiver) -> Option<Input> {
                let mut events = receiver.take(1).ok()?;
                (&mut events).next().copied()
            }
        }
    )* };
}

disruptors! {
    Disruptor "disruptor (one producer)": build_single_producer, SingleProducer, SingleProducerBarrier;
    DisruptorOfMany "disruptor": build_multi_producer, MultiProducer, MultiProducerBarrier;
}
