//! The shutdown of a lane.

use tokio::time::{Instant, timeout};

use super::{Consumer, FAREWELL, Item, Lane, Shutdown, ShutdownReport, Triage};

impl<C: Consumer> Lane<C> {
    /// Releases what waits, lets running handlers finish until the deadline, and acknowledges what is done.
    pub(super) async fn close(mut self) -> ShutdownReport {
        let deadline = self.context.draining.borrow().unwrap_or_else(Instant::now);
        let mut shutdown = Shutdown {
            report: ShutdownReport::default(),
            released: Vec::new(),
        };
        self.handlers.cancel_request();
        // Records that do not arrive in time are released when the consumer closes.
        _ = timeout(FAREWELL, self.finish_intake()).await;
        self.intake.cancel();
        shutdown.report.released = self.release_waiting().await;
        self.shutdown = Some(shutdown);
        while (self.handlers.len() > 0 || !self.dead_letters.is_empty())
            && Instant::now() < deadline
        {
            self.step(Some(deadline)).await;
        }

        let (finished, cancelled) = self.handlers.cancel(FAREWELL).await;
        for handled in finished {
            self.on_handled(handled);
        }
        let farewell = Instant::now() + FAREWELL;
        while self.acknowledgements.len() > 0 && Instant::now() < farewell {
            self.step(Some(farewell)).await;
        }

        let Some(Shutdown {
            mut report,
            mut released,
        }) = self.shutdown
        else {
            return ShutdownReport::default();
        };
        report.cancelled = cancelled.len();
        released.extend(cancelled.into_iter().map(Item::into_lease));
        released.extend(self.dead_letters.cancel());
        if !released.is_empty() {
            // If this fails, they are released when the consumer closes, or their leases run out.
            _ = self.consumer.release(&released).await;
        }
        _ = self.consumer.close().await;
        report
    }

    /// Waits for the calls of the intake that are under way.
    async fn finish_intake(&mut self) {
        if self.intake.is_under_way() {
            let received = self.intake.received().await;
            self.enter(received);
        }
        if self.claims.is_under_way() {
            let claimed = self.claims.claimed().await;
            self.on_claimed(claimed);
        }
    }

    /// Releases the messages whose handlers have not begun. Returns their number.
    async fn release_waiting(&mut self) -> usize {
        let mut waiting: Vec<_> = self.ready.drain(..).collect();
        waiting.extend(self.claims.drain());
        waiting.extend(self.schedule.drain());
        waiting.extend(self.arrived.drain(..).map(Triage::into_item));
        waiting.extend(self.queues.drain());
        let leases: Vec<_> = waiting.into_iter().map(Item::into_lease).collect();
        self.leases.remove(&leases);
        if !leases.is_empty() {
            _ = self.consumer.release(&leases).await;
        }
        leases.len()
    }
}
