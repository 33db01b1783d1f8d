//! Events whose subscribers can fail: `publish` reports every failure.

use super::EventOutput;
use alloc::vec::Vec;
use core::{error::Error, fmt};

/// The failures of an event's subscribers. Every subscriber has run.
///
/// ```
/// use static_bus::prelude::*;
/// struct OrderPlaced;
/// event!(OrderPlaced -> Result<(), &'static str>);
///
/// struct Mailer;
/// impl<B> EventHandler<OrderPlaced, B> for Mailer {
///     fn handle(&self, _: &OrderPlaced, _bus: &B) -> Result<(), &'static str> {
///         Err("mail server is down")
///     }
/// }
///
/// let bus = BusBuilder::new()
///     .subscribe_fn(|_: &OrderPlaced| Ok(()))
///     .subscribe::<OrderPlaced, _>(Mailer)
///     .build();
/// let error = bus.publish(&OrderPlaced).unwrap_err();
/// assert!(error.to_string().starts_with("1 of 2 handlers of OrderPlaced failed: "));
/// assert!(error.to_string().ends_with("::Mailer (position 1): mail server is down"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishError<E> {
    event: &'static str,
    subscribers: usize,
    failures: Vec<Failure<E>>,
}

impl<E> PublishError<E> {
    /// The failures, in registration order; at least one.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Saved;
    /// event!(Saved -> Result<(), u8>);
    /// let bus = BusBuilder::new()
    ///     .subscribe_fn(|_: &Saved| Err(1))
    ///     .subscribe_fn(|_: &Saved| Ok(()))
    ///     .subscribe_fn(|_: &Saved| Err(3))
    ///     .build();
    /// let error = bus.publish(&Saved).unwrap_err();
    /// let failures: Vec<_> = error.failures().iter().map(|f| (f.position, f.error)).collect();
    /// assert_eq!(failures, [(0, 1), (2, 3)]);
    /// ```
    pub fn failures(&self) -> &[Failure<E>] {
        &self.failures
    }

    /// Returns the failures, and consumes the error.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Saved;
    /// event!(Saved -> Result<(), String>);
    /// let bus = BusBuilder::new().subscribe_fn(|_: &Saved| Err("full".to_owned())).build();
    /// let failures = bus.publish(&Saved).unwrap_err().into_failures();
    /// let errors: Vec<String> = failures.into_iter().map(|failure| failure.error).collect();
    /// assert_eq!(errors, ["full"]);
    /// ```
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.failures
    }
}

/// One subscriber's failure.
///
/// ```
/// use static_bus::prelude::*;
/// struct Saved;
/// event!(Saved -> Result<(), &'static str>);
/// struct Disk;
/// impl<B> EventHandler<Saved, B> for Disk {
///     fn handle(&self, _: &Saved, _bus: &B) -> Result<(), &'static str> { Err("full") }
/// }
/// let bus = BusBuilder::new().subscribe::<Saved, _>(Disk).build();
/// let error = bus.publish(&Saved).unwrap_err();
/// let failure = &error.failures()[0];
/// assert!(failure.handler.ends_with("::Disk"));
/// assert_eq!(failure.position, 0);
/// assert_eq!(failure.error, "full");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure<E> {
    /// The handler's type name.
    pub handler: &'static str,
    /// Its position among the event's subscribers, from 0, in registration order.
    pub position: usize,
    /// The error that it returned.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.event.rsplit("::").next().unwrap_or(self.event);
        let (failed, all) = (self.failures.len(), self.subscribers);
        write!(f, "{failed} of {all} handlers of {event} failed: ")?;
        for (i, failure) in self.failures.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let (handler, position) = (failure.handler, failure.position);
            let error = &failure.error;
            write!(f, "{separator}{handler} (position {position}): {error}")?;
        }
        Ok(())
    }
}

/// The subscribers' own errors are in [`failures`](PublishError::failures): there can be several, so
/// none of them is the `source`.
impl<E: fmt::Debug + fmt::Display> Error for PublishError<E> {}

impl<E> EventOutput for Result<(), E> {
    type Published = Result<(), PublishError<E>>;
    type Log = Vec<Failure<E>>;
    #[inline]
    fn note(self, log: &mut Self::Log, position: usize, handler: impl FnOnce() -> &'static str) {
        if let Err(error) = self {
            log.push(Failure {
                handler: handler(),
                position,
                error,
            });
        }
    }
    #[inline]
    fn finish(failures: Self::Log, subscribers: usize, event: &'static str) -> Self::Published {
        if failures.is_empty() {
            return Ok(());
        }
        Err(PublishError {
            event,
            subscribers,
            failures,
        })
    }
}
