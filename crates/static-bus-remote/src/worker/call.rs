//! A call to the broker that is repeated.

use std::pin::Pin;

use tokio::time::Instant;

use super::health::{Report, Task};
use crate::{
    TransportError,
    retry::{self, Backoff},
};

/// A future that may be under way.
pub(super) type Ongoing<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Waits for the future under way; forever if there is none.
pub(super) async fn ended<T>(ongoing: &mut Ongoing<T>) -> T {
    let Some(future) = ongoing else {
        return std::future::pending().await;
    };
    let output = future.await;
    *ongoing = None;
    output
}

/// A call that is repeated: one at a time, and after a failure only when a delay has passed.
pub(super) struct Call<T> {
    report: Report,
    task: Task,
    ongoing: Ongoing<Result<T, (T, TransportError)>>,
    not_before: Instant,
    backoff: Backoff,
}

impl<T> Call<T> {
    pub(super) fn new(report: Report, task: Task) -> Self {
        Call {
            report,
            task,
            ongoing: None,
            not_before: Instant::now(),
            backoff: retry::reconnect(),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.ongoing.is_some()
    }

    /// The time from which the call may be started; `None` while it is under way.
    pub(super) fn not_before(&self) -> Option<Instant> {
        (!self.is_under_way()).then_some(self.not_before)
    }

    pub(super) fn may_start(&self) -> bool {
        self.not_before().is_some_and(|time| time <= Instant::now())
    }

    /// Starts the call. A failed call returns a value as well.
    pub(super) fn start(
        &mut self,
        call: impl Future<Output = Result<T, (T, TransportError)>> + Send + 'static,
    ) {
        self.ongoing = Some(Box::pin(call));
    }

    pub(super) fn cancel(&mut self) {
        self.ongoing = None;
    }

    /// Waits for the end of the call under way, and reports it; forever if there is none.
    ///
    /// # Errors
    /// The value of a failed call.
    pub(super) async fn ended(&mut self) -> Result<T, T> {
        match ended(&mut self.ongoing).await {
            Ok(value) => {
                self.backoff.reset();
                self.report.of(self.task, Ok(()));
                Ok(value)
            }
            Err((value, error)) => {
                self.report.of(self.task, Err(error));
                self.not_before = Instant::now() + self.backoff.next_delay();
                Err(value)
            }
        }
    }
}
