//! The concurrent run of all subscribers of an event, within one future.
//!
//! A digit of the list is one `async` block: of handlers, it holds the futures of up to eight subscribers, and
//! of branches, the futures of those. So the future is as deep as the list. Each poll visits all
//! subscribers that have not finished. `docs/DESIGN.md` says how the future is kept small.

use super::outcome::{Outcome, combine};
use super::refusal::{AllAtOnce, HearsAtOnce};
use super::{AsyncEventHandler, BusError};
use crate::handler::{AtOnce, EventHandler};
use crate::message::{Event, Failure};
use crate::table::*;
use crate::wiring::handler_name;
use alloc::{boxed::Box, vec::Vec};
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

/// The event and the bus, which all subscribers share.
pub(crate) struct Call<'e, 'b, E, B> {
    pub(super) event: &'e E,
    pub(super) bus: &'b B,
}

/// A list of asynchronous subscribers. They run concurrently, and start in order.
pub(crate) trait AsyncSubscribers<E: Event, B> {
    /// The result of the only subscriber, or the failures of all.
    type Heard;
    /// The number of subscribers.
    const COUNT: usize;
    fn deliver(&self, call: &Call<'_, '_, E, B>) -> impl Future<Output = Self::Heard> + Send;
    /// Adds what this list has returned to the failures of all. `position` is that of its first subscriber.
    fn note(heard: Self::Heard, position: usize, failures: &mut Failures);
}

/// The failures of a list of subscribers, in any order. As small as a pointer, because there is one in the
/// future of each branch.
pub(crate) type Failures = Option<Box<Failed>>;
pub(crate) struct Failed {
    failure: Failure<BusError>,
    next: Failures,
}

#[inline]
fn note_result<H>(result: Result<(), BusError>, position: usize, failures: &mut Failures) {
    if let Err(error) = result {
        let failure = Failure {
            handler: handler_name::<H>(),
            position,
            error,
        };
        let next = failures.take();
        *failures = Some(Box::new(Failed { failure, next }));
    }
}
/// Adds failures whose positions are relative to `position`.
fn note_failures(mut heard: Failures, position: usize, failures: &mut Failures) {
    while let Some(mut failed) = heard {
        heard = failed.next.take();
        failed.failure.position += position;
        failed.next = failures.take();
        *failures = Some(failed);
    }
}

/// Combines all failures into one result.
pub(super) fn finish(
    mut failures: Failures,
    subscribers: usize,
    event: &'static str,
) -> Result<(), BusError> {
    let mut all = Vec::new();
    while let Some(failed) = failures {
        all.push(failed.failure);
        failures = failed.next;
    }
    all.sort_unstable_by_key(|failure| failure.position);
    combine(all, subscribers, event)
}

/// Polls a future until it is ready, and then drops it. Returns true if it is not ready.
#[inline]
fn waits<F: Future>(
    mut slot: Pin<&mut Option<F>>,
    context: &mut Context<'_>,
    note: impl FnOnce(F::Output),
) -> bool {
    let Some(future) = slot.as_mut().as_pin_mut() else {
        return false;
    };
    match future.poll(context) {
        Poll::Pending => true,
        Poll::Ready(heard) => {
            slot.set(None);
            note(heard);
            false
        }
    }
}

/// The future of the elements of one digit, each with the expression that starts it, the function that notes
/// its failures, and its number of subscribers.
///
/// An element starts after the one before it has been polled, so the part of a closure before its future
/// also runs in registration order. Everything that the starts need is behind one reference, because the
/// captures of the closure are in the future in addition to those of the block.
macro_rules! together {
    ($needs:ident: $($S:ident $start:expr, $note:path, $count:expr;)*) => {
        #[allow(non_snake_case)]
        async move {
            let $needs = &$needs;
            $(let mut $S = pin!(None);)*
            let mut failures = None;
            let mut started = false;
            poll_fn(move |context| {
                let mut pending = false;
                let position = 0;
                $(
                    if !started {
                        $S.set(Some($start));
                    }
                    pending |= waits($S.as_mut(), context, |heard| {
                        $note(heard, position, &mut failures);
                    });
                    let position = position + $count;
                )*
                debug_assert_eq!(position, Self::COUNT);
                started = true;
                if pending { Poll::Pending } else { Poll::Ready(failures.take()) }
            })
            .await
        }
    };
}

impl<E, B, H> AsyncSubscribers<E, B> for Handlers1<H>
where
    E: Event + Sync,
    B: Sync,
    H: AsyncEventHandler<E, B> + Sync,
{
    type Heard = Result<(), BusError>;
    const COUNT: usize = 1;
    #[inline]
    fn deliver(
        &self,
        call: &Call<'_, '_, E, B>,
    ) -> impl Future<Output = Result<(), BusError>> + Send {
        self.0.handle(call.event, call.bus)
    }
    #[inline]
    fn note(heard: Result<(), BusError>, position: usize, failures: &mut Failures) {
        note_result::<H>(heard, position, failures);
    }
}
impl<E, B, G> AsyncSubscribers<E, B> for Branches1<G>
where
    E: Event + Sync,
    B: Sync,
    G: AsyncSubscribers<E, B> + Sync,
{
    type Heard = G::Heard;
    const COUNT: usize = G::COUNT;
    #[inline]
    fn deliver(&self, call: &Call<'_, '_, E, B>) -> impl Future<Output = G::Heard> + Send {
        self.0.deliver(call)
    }
    #[inline]
    fn note(heard: G::Heard, position: usize, failures: &mut Failures) {
        G::note(heard, position, failures);
    }
}

macro_rules! handlers {
    (Handlers1 Branches1 $($rest:tt)*) => {};
    ($Handlers:ident $Branches:ident $($i:tt $S:ident)*) => {
        impl<E, B, $($S),*> AsyncSubscribers<E, B> for $Handlers<$($S),*>
        where
            E: Event + Sync,
            B: Sync,
            $($S: AsyncEventHandler<E, B> + Sync),*
        {
            type Heard = Failures;
            const COUNT: usize = [$($i),*].len();
            #[inline]
            fn deliver(&self, call: &Call<'_, '_, E, B>) -> impl Future<Output = Failures> + Send {
                let needs = (self, call);
                together!(needs: $(
                    $S needs.0.$i.handle(needs.1.event, needs.1.bus), note_result::<$S>, 1;
                )*)
            }
            #[inline]
            fn note(heard: Failures, position: usize, failures: &mut Failures) {
                note_failures(heard, position, failures);
            }
        }
        branches!($Branches $($i $S)*);
    };
}
macro_rules! branches {
    ($Branches:ident $($i:tt $S:ident)*) => {
        impl<E, B, $($S),*> AsyncSubscribers<E, B> for $Branches<$($S),*>
        where
            E: Event + Sync,
            B: Sync,
            $($S: AsyncSubscribers<E, B> + Sync),*
        {
            type Heard = Failures;
            const COUNT: usize = 0 $(+ $S::COUNT)*;
            #[inline]
            fn deliver(&self, call: &Call<'_, '_, E, B>) -> impl Future<Output = Failures> + Send {
                let needs = (self, call);
                together!(needs: $($S needs.0.$i.deliver(needs.1), $S::note, $S::COUNT;)*)
            }
            #[inline]
            fn note(heard: Failures, position: usize, failures: &mut Failures) {
                note_failures(heard, position, failures);
            }
        }
    };
}
for_each_digit!(handlers);
branches!(Many 0 Older 1 Newer);

// ----- synchronous subscribers

impl<E, B, H> AsyncEventHandler<E, B> for AtOnce<H>
where
    E: Event<Output: Outcome<E>> + Sync,
    B: Sync,
    H: EventHandler<E, B> + Sync,
{
    #[inline]
    async fn handle(&self, event: &E, bus: &B) -> Result<(), BusError> {
        self.0.handle(event, bus).outcome()
    }
}
#[diagnostic::do_not_recommend]
impl<E, H> HearsAtOnce<E> for AtOnce<H> {}

/// A list of synchronous subscribers, which becomes a list of asynchronous ones.
pub trait IntoAsync {
    type Out;
    fn into_async(self) -> Self::Out;
}
macro_rules! convert {
    ($Handlers:ident $Branches:ident $($i:tt $S:ident)*) => {
        impl<$($S),*> IntoAsync for $Handlers<$($S),*> {
            type Out = $Handlers<$(AtOnce<$S>),*>;
            #[inline]
            fn into_async(self) -> Self::Out {
                $Handlers($(AtOnce(self.$i)),*)
            }
        }
        impl<$($S: IntoAsync),*> IntoAsync for $Branches<$($S),*> {
            type Out = $Branches<$($S::Out),*>;
            #[inline]
            fn into_async(self) -> Self::Out {
                $Branches($(self.$i.into_async()),*)
            }
        }
        impl<E, $($S: HearsAtOnce<E>),*> AllAtOnce<E> for $Handlers<$($S),*> {}
        impl<E, $($S: AllAtOnce<E>),*> AllAtOnce<E> for $Branches<$($S),*> {}
    };
}
for_each_digit!(convert);
impl<Older: IntoAsync, Newer: IntoAsync> IntoAsync for Many<Older, Newer> {
    type Out = Many<Older::Out, Newer::Out>;
    #[inline]
    fn into_async(self) -> Self::Out {
        Many(self.0.into_async(), self.1.into_async())
    }
}
impl<E, Older: AllAtOnce<E>, Newer: AllAtOnce<E>> AllAtOnce<E> for Many<Older, Newer> {}
