//! The settings of a worker, and those of one message.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{RetryPolicy, time::LONGEST};

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) service: Arc<str>,
    pub(super) concurrency: NonZeroUsize,
    pub(super) lease: Duration,
    pub(super) deduplication: Option<Duration>,
    pub(super) retries: RetryPolicy,
    pub(super) handler_timeout: Option<Duration>,
    pub(super) settle_timeout: Duration,
}

/// The settings of one message, where they differ from those of the worker; see
/// [`Worker::configure`](super::Worker::configure).
#[derive(Debug, Clone)]
#[must_use]
pub struct MessageSettings {
    pub(super) limit: NonZeroUsize,
    retries: Option<RetryPolicy>,
    handler_timeout: Option<Option<Duration>>,
    deduplication: Option<Option<Duration>>,
}

impl Default for MessageSettings {
    fn default() -> Self {
        MessageSettings {
            limit: const { NonZeroUsize::new(64).unwrap() },
            retries: None,
            handler_timeout: None,
            deduplication: None,
        }
    }
}

/// The timeout, unless it is zero.
#[track_caller]
pub(super) fn not_zero(timeout: Option<Duration>) -> Option<Duration> {
    assert!(
        timeout.is_none_or(|it| !it.is_zero()),
        "a handler timeout of zero: no handler would ever succeed; use `None` for no limit"
    );
    timeout
}

impl MessageSettings {
    /// The number of handlers of the message that may run at a time. Default: 64.
    pub fn limit(mut self, handlers: NonZeroUsize) -> Self {
        self.limit = handlers;
        self
    }

    /// The attempts to handle the message if its handler fails. Default: those of the worker. Queries have one.
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = Some(retries.at_least_one());
        self
    }

    /// The longest time for one run of the handler, or `None` for no limit. Default: that of the worker. A handler that takes longer is
    /// cancelled: it gives up its place, and the attempt has failed.
    ///
    /// # Panics
    /// If it is zero: no handler would ever succeed.
    #[track_caller]
    pub fn handler_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handler_timeout = Some(not_zero(timeout.into()));
        self
    }

    /// The time for which handled messages are remembered, or `None` to remember none. Default: that of the worker. All
    /// workers of a group need the same. Queries are not remembered.
    pub fn deduplication(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.deduplication = Some(window.into());
        self
    }

    /// The settings of a lane.
    pub(super) fn over(&self, worker: &Settings) -> Settings {
        Settings {
            retries: self.retries.unwrap_or(worker.retries),
            handler_timeout: self.handler_timeout.unwrap_or(worker.handler_timeout),
            deduplication: self
                .deduplication
                .unwrap_or(worker.deduplication)
                .map(|window| window.min(LONGEST)),
            ..worker.clone()
        }
    }
}
