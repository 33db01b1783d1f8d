//! The shutdown of a lane.

use tokio::time::{Instant, timeout};

use super::{Consumer, FAREWELL, Item, Lane, ShutdownReport, Triage};

impl<C: Consumer> Lane<C> {
    /// Releases what waits, lets running handlers finish until the deadline, and acknowledges what is done.
    pub(super) async fn close(mut self) -> ShutdownReport {
        let deadline = self.context.draining.borrow().unwrap_or_else(Instant::now);
        self.handlers.cancel_request();
        // Records that do not arrive in time are released when the consumer closes.
        _ = timeout(FAREWELL, self.finish_intake()).await;
        self.intake.cancel();
        self.release_waiting().await;
        self.is_closing = true;
        while self.is_handling() && Instant::now() < deadline {
            self.step(Some(deadline)).await;
        }

        self.handlers.cancel();
        let farewell = Instant::now() + FAREWELL;
        while (self.is_handling() || self.acknowledgements.len() > 0) && Instant::now() < farewell {
            self.step(Some(farewell)).await;
        }

        let cancelled = self.handlers.drain_cancelled();
        self.report.cancelled = cancelled.len();
        let mut released = self.released;
        released.extend(cancelled.into_iter().map(Item::into_lease));
        released.extend(self.dead_letters.cancel());
        if !released.is_empty() {
            // If this fails, they are released when the consumer closes, or their leases run out.
            _ = self.consumer.release(&released).await;
        }
        _ = self.consumer.close().await;
        self.report
    }

    /// Returns `true` if a handler runs or a dead letter is being written.
    fn is_handling(&self) -> bool {
        self.handlers.len() > 0 || !self.dead_letters.is_empty()
    }

    /// Waits for the calls of the intake that are under way.
    async fn finish_intake(&mut self) {
        while self.intake.is_under_way() || self.claims.is_under_way() {
            tokio::select! {
                received = self.intake.received() => self.enter(received),
                claimed = self.claims.claimed() => self.on_claimed(claimed),
            }
        }
    }

    /// Releases the messages whose handlers have not begun.
    async fn release_waiting(&mut self) {
        let mut waiting: Vec<_> = self.ready.drain(..).collect();
        waiting.extend(self.claims.drain());
        waiting.extend(self.schedule.drain());
        waiting.extend(self.arrived.drain(..).map(Triage::into_item));
        waiting.extend(self.queues.drain());
        let leases: Vec<_> = waiting.into_iter().map(Item::into_lease).collect();
        self.report.released = leases.len();
        self.leases.remove(&leases);
        if !leases.is_empty() {
            _ = self.consumer.release(&leases).await;
        }
    }
}
