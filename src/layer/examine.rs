//! The shared part of the layers that examine a message before its handler runs.

/// A layer that examines message `M`.
pub(super) trait Examine<M> {
    /// The reason of a refusal.
    type Refusal;
    fn examine(&self, message: &M) -> Result<(), Self::Refusal>;
}

/// The result of message `M`, which can carry a refusal `E`.
#[diagnostic::on_unimplemented(
    message = "`{M}` cannot report a refusal",
    label = "its result `{Self}` cannot be made from `{E}`",
    note = "declare `{M}` with a `Result` whose error implements `From<{E}>`, or register `{M}` after the layer"
)]
pub trait Refusable<M, E> {
    fn refused(refusal: E) -> Self;
}
#[diagnostic::do_not_recommend]
impl<M, T, E, F: From<E>> Refusable<M, E> for Result<T, F> {
    #[inline]
    fn refused(refusal: E) -> Self {
        Err(refusal.into())
    }
}

/// The impls of one kind of message for a layer that examines it.
macro_rules! kind {
    (
        $Layer:ty, [$($P:ident)?], $Around:ident $M:ident: $Kind:ident, $Result:ident,
        $around:ident, $message:ident: $Message:ty => $examined:expr
    ) => {
        impl<$M, B, $($P)?> $crate::layer::$Around<$M, B> for $Layer
        where
            $M: $crate::message::$Kind,
            B: ?Sized,
            Self: $crate::layer::examine::Examine<$M>,
            $M::$Result: $crate::layer::examine::Refusable<
                $M,
                <Self as $crate::layer::examine::Examine<$M>>::Refusal,
            >,
        {
            #[inline]
            fn $around(
                &self,
                $message: $Message,
                _: &B,
                next: impl Fn($Message) -> $M::$Result,
            ) -> $M::$Result {
                match $crate::layer::examine::Examine::examine(self, $examined) {
                    Ok(()) => next($message),
                    Err(refusal) => $crate::layer::examine::Refusable::refused(refusal),
                }
            }
        }
    };
}
/// The same for asynchronous handlers.
#[cfg(feature = "async")]
macro_rules! async_kind {
    (
        $Layer:ty, [$($P:ident)?], $Around:ident $Next:ident $M:ident: $Kind:ident + $Shared:ident,
        $around:ident, $message:ident: $Message:ty => $Output:ty, $examined:expr
    ) => {
        impl<$M, B, $($P)?> $crate::layer::$Around<$M, B> for $Layer
        where
            $M: $crate::message::$Kind + $Shared,
            B: ?Sized,
            Self: $crate::layer::examine::Examine<$M> + Sync,
            <Self as $crate::layer::examine::Examine<$M>>::Refusal:
                $crate::asynchronous::Reportable<$M>,
        {
            #[inline]
            async fn $around(
                &self,
                $message: $Message,
                _: &B,
                next: impl $crate::layer::$Next<$M>,
            ) -> Result<$Output, $crate::asynchronous::BusError> {
                if let Err(refusal) = $crate::layer::examine::Examine::examine(self, $examined) {
                    let refusal = $crate::asynchronous::Reportable::<$M>::boxed(refusal);
                    return Err($crate::asynchronous::BusError::refused::<$M>(refusal));
                }
                next.run($message).await
            }
        }
    };
}
/// Puts a layer around the handlers of all messages that it can examine.
macro_rules! examining {
    ($Layer:ty, $P:tt) => {
        $crate::layer::examine::kind!($Layer, $P, AroundQuery Q: Query, Response, query, query: Q => &query);
        $crate::layer::examine::kind!($Layer, $P, AroundCommand C: Command, Output, command, command: C => &command);
        $crate::layer::examine::kind!($Layer, $P, AroundEvent E: Event, Output, event, event: &E => event);
        #[cfg(feature = "async")]
        $crate::layer::examine::async_kind!(
            $Layer, $P, AsyncAroundQuery NextQuery Q: Query + Send, query, query: Q => Q::Response, &query);
        #[cfg(feature = "async")]
        $crate::layer::examine::async_kind!(
            $Layer, $P, AsyncAroundCommand NextCommand C: Command + Send, command, command: C => (), &command);
        #[cfg(feature = "async")]
        $crate::layer::examine::async_kind!(
            $Layer, $P, AsyncAroundEvent NextEvent E: Event + Sync, event, event: &E => (), event);
    };
}
#[cfg(feature = "async")]
pub(super) use async_kind;
pub(super) use {examining, kind};
