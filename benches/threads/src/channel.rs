//! What a channel has to do.

use static_bus::prelude::*;

#[derive(Clone, Copy)]
pub struct Quote {
    /// The clock when it was sent.
    pub sent: u64,
    /// The rest of a small message.
    pub rest: [u64; 2],
}
event!(Quote);

#[derive(Clone, Copy)]
pub struct Halt;
command!(Halt);

mailbox! {
    #[derive(Clone, Copy)]
    pub enum Input {
        event Quote,
        command Halt,
    }
}

/// A channel whose two sides poll.
pub trait Channel {
    const NAME: &'static str;
    type Sender: Send;
    type Receiver: Send;

    fn new(capacity: usize) -> (Self::Sender, Self::Receiver);
    /// Returns false if the channel is full.
    fn try_send(sender: &mut Self::Sender, input: Input) -> bool;
    fn try_receive(receiver: &mut Self::Receiver) -> Option<Input>;
}
