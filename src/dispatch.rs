//! The traits that modules use as bounds on the bus: one small, object-safe trait for each operation.
//!
//! A [`Bus`](crate::bus::Bus) implements them for the messages registered on it. A test can implement
//! them for a type of its own: a module with the bound `SendQuery<GetRate>` accepts any implementor.
//!
//! These traits are in-process, and dispatch itself cannot fail. Code that is generic over them knows
//! from the type that no network is involved.

use crate::message::{Command, Event, EventOutput, Message, Query};

/// A bus that answers query `Q`.
///
/// ```
/// use static_bus::prelude::*;
/// struct GetRate;
/// query!(GetRate -> f64);
///
/// fn convert(amount: f64, rates: &dyn SendQuery<GetRate>) -> f64 {
///     amount * rates.send(GetRate)
/// }
///
/// struct Fixed(f64); // a double for tests
/// impl SendQuery<GetRate> for Fixed {
///     fn send(&self, _: GetRate) -> f64 { self.0 }
/// }
/// assert_eq!(convert(10.0, &Fixed(1.5)), 15.0);
///
/// let bus = BusBuilder::new().register_query_fn(|_: GetRate| 2.0).build();
/// assert_eq!(convert(10.0, &bus), 20.0);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send query `{Q}`",
    label = "not a bus that answers `{Q}`",
    note = "in generic code, add the bound `SendQuery<{Q}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait SendQuery<Q: Query> {
    /// Runs the query's one handler on the caller's stack and returns its answer.
    fn send(&self, query: Q) -> Q::Response;
}

/// A bus that executes command `C`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Stop;
/// command!(Stop -> Result<(), &'static str>);
///
/// fn stop_twice(bus: &impl ExecuteCommand<Stop>) -> Result<(), &'static str> {
///     bus.execute(Stop)?;
///     bus.execute(Stop)
/// }
/// let bus = BusBuilder::new().register_command_fn(|_: Stop| Err("it stands")).build();
/// assert_eq!(stop_twice(&bus), Err("it stands"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot execute command `{C}`",
    label = "not a bus that executes `{C}`",
    note = "in generic code, add the bound `ExecuteCommand<{C}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait ExecuteCommand<C: Command> {
    /// Runs the command's one handler on the caller's stack and returns its output.
    ///
    /// # Errors
    /// The handler's own error, if the command's output is a `Result`.
    fn execute(&self, command: C) -> C::Output;
}

/// A bus that publishes event `E`. A [`Bus`](crate::bus::Bus) publishes every event, including those
/// without subscribers.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Saved(u32);
/// event!(Saved);
///
/// fn save(bus: &impl PublishEvent<Saved>) {
///     bus.publish(&Saved(7));
/// }
/// let last = Cell::new(0);
/// save(&BusBuilder::new().subscribe_fn(|event: &Saved| last.set(event.0)).build());
/// assert_eq!(last.get(), 7);
/// save(&BusBuilder::new().build());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot publish event `{E}`",
    label = "not a bus that publishes `{E}`",
    note = "in generic code, add the bound `PublishEvent<{E}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait PublishEvent<E: Event> {
    /// Runs every subscriber, in registration order.
    ///
    /// # Errors
    /// All failures, if the event's output is a `Result`. They are returned after every subscriber has
    /// run.
    fn publish(&self, event: &E) -> <E::Output as EventOutput>::Published;
}

/// A bus whose [mailbox](mod@crate::mailbox) can queue message `M`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Tick(u32);
/// event!(Tick);
/// mailbox! { enum Cascade { event Tick } }
///
/// struct CountDown;
/// impl<B: PostMessage<Tick>> EventHandler<Tick, B> for CountDown {
///     fn handle(&self, tick: &Tick, bus: &B) {
///         if tick.0 > 0 {
///             bus.post(Tick(tick.0 - 1)); // delivered when this delivery is over
///         }
///     }
/// }
/// let bus = BusBuilder::new().subscribe::<Tick, _>(CountDown).mailbox::<Cascade>(8).build();
/// bus.post(Tick(3));
/// assert_eq!(bus.settle(), Ok(4));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot post `{M}`",
    label = "not a bus that queues `{M}`",
    note = "in generic code, add the bound `PostMessage<{M}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait PostMessage<M: Message> {
    /// Appends the message to the mailbox; `settle` delivers it.
    fn post(&self, message: M);
}
