//! The shutdown of a lane.

use tokio::time::{Instant, timeout_at};

use super::{Consumer, Deadlines, Item, Lane, Lease, ShutdownReport, Triage};

impl<C: Consumer> Lane<C> {
    /// Releases what waits, lets running handlers finish until their deadline, and acknowledges what is done.
    pub(super) async fn close(mut self, deadlines: Deadlines) -> ShutdownReport {
        let Deadlines {
            intake,
            handlers,
            settling,
            ..
        } = deadlines;
        self.handlers.cancel_request();
        // Records that do not arrive in time are released when the consumer closes.
        _ = timeout_at(intake, self.finish_intake()).await;
        let mut waiting = self.intake.cancel();
        waiting.extend(self.drain_waiting());
        self.report.released = waiting.len();
        let until = handlers.max(intake).min(settling);
        self.release(waiting, until).await;
        self.is_closing = true;
        while self.is_handling() && Instant::now() < handlers {
            self.step(Some(handlers)).await;
        }

        self.handlers.cancel();
        // Half of the time, so that a broker that acknowledges nothing can be told the rest.
        let left = settling.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / 2;
        while (self.is_handling() || self.acknowledgements.len() > 0) && Instant::now() < until {
            self.step(Some(until)).await;
        }
        self.report.unsettled += self.acknowledgements.len();
        let cancelled = self.handlers.drain_cancelled();
        self.report.cancelled = cancelled.len();
        let mut released = std::mem::take(&mut self.released);
        released.extend(cancelled.into_iter().map(Item::into_lease));
        released.extend(self.dead_letters.cancel());
        self.release(released, settling).await;
        _ = timeout_at(settling, self.consumer.close()).await;
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
                biased;
                received = self.intake.received() => self.enter(received),
                claimed = self.claims.claimed() => self.on_claimed(claimed),
            }
        }
    }

    /// Removes the messages whose handlers have not begun.
    fn drain_waiting(&mut self) -> Vec<Lease<C::Receipt>> {
        let mut waiting: Vec<_> = self.ready.drain(..).collect();
        waiting.extend(self.claims.drain());
        waiting.extend(self.schedule.drain());
        waiting.extend(self.arrived.drain(..).map(Triage::into_item));
        waiting.extend(self.queues.drain());
        let leases: Vec<_> = waiting.into_iter().map(Item::into_lease).collect();
        self.leases.remove(&leases);
        leases
    }

    /// Releases messages. If this fails, they are released when the consumer closes, or their leases run out.
    async fn release(&mut self, leases: Vec<Lease<C::Receipt>>, until: Instant) {
        if leases.is_empty() {
            return;
        }
        let released = timeout_at(until, self.consumer.release(&leases)).await;
        if !matches!(released, Ok(Ok(()))) {
            self.report.unsettled += leases.len();
        }
    }
}
