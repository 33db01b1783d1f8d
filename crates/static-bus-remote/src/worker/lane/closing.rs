//! How a lane ends: what runs may finish, and the rest is given back.

use tokio::time::Instant;

use super::{Consumer, Ended, FAREWELL, Failure, Item, Lane, Lease, Taken, ended};

impl<C: Consumer> Lane<C> {
    /// Lets what runs finish, until the deadline, and gives the rest back.
    pub(super) async fn close(mut self) -> Ended {
        self.closing = true;
        let deadline = self.with.draining.borrow().unwrap_or_else(Instant::now);
        (self.spare_slot, self.asking_for_slot) = (None, None);
        // What does not come in by then is given back when the consumer closes.
        _ = tokio::time::timeout(FAREWELL, self.come_in()).await;
        (self.taking, self.claiming) = (None, None);
        self.give_back_what_waits().await;
        while !(self.running.is_empty() && self.burying.is_empty()) && Instant::now() < deadline {
            self.step(Some(deadline)).await;
        }

        self.running.abort_all();
        self.burying.abort_all();
        // A handler that never waits cannot be cancelled; its message comes again all the same.
        _ = tokio::time::timeout(FAREWELL, self.cancelled()).await;
        self.ended.cancelled = self.in_running.len();
        let cancelled = std::mem::take(&mut self.in_running).into_values();
        let cancelled = self.away(cancelled.map(|(item, ..)| item).collect());
        let unburied = self.in_burying.drain().map(|(_, item)| item.lease);
        let mut back = std::mem::take(&mut self.back);
        back.extend(cancelled.into_iter().chain(unburied));

        let farewell = Instant::now() + FAREWELL;
        while (self.acknowledging.is_some() || !self.done.is_empty()) && Instant::now() < farewell {
            self.step(Some(farewell)).await;
        }
        if !self.is_query() && !back.is_empty() {
            // What is not given back is, when the consumer closes or the leases run out.
            _ = self.with.consumer.release(&back).await;
        }
        _ = self.with.consumer.close().await;
        self.ended
    }

    /// What is to be given back of messages that are not handled here. Queries cannot be: their
    /// callers are told.
    fn away(&self, items: Vec<Item<C::Receipt>>) -> Vec<Lease<C::Receipt>> {
        if !self.is_query() {
            return items.into_iter().map(|item| item.lease).collect();
        }
        for query in &items {
            let failure = Failure {
                error: "the worker is shutting down".to_owned(),
                retryable: true,
                by_broker: false,
                cannot_send: false,
            };
            self.reply(query, failure.outcome());
        }
        Vec::new()
    }

    /// Waits for what is on its way in.
    async fn come_in(&mut self) {
        if self.taking.is_some() {
            let taken = ended(&mut self.taking).await;
            self.on_taken(taken);
        }
        if self.claiming.is_some() {
            let (items, claims) = ended(&mut self.claiming).await;
            self.on_claimed(items, claims);
        }
    }

    /// Waits until every handler has ended or is cancelled.
    async fn cancelled(&mut self) {
        while let Some(ended) = self.running.join_next_with_id().await {
            match ended {
                Err(error) if error.is_cancelled() => {}
                ended => self.on_ended(ended),
            }
        }
    }

    /// Gives back what is not begun.
    async fn give_back_what_waits(&mut self) {
        let mut waiting: Vec<_> = std::mem::take(&mut self.ready).into();
        waiting.extend(std::mem::take(&mut self.to_claim));
        waiting.extend(
            std::mem::take(&mut self.later)
                .into_iter()
                .map(|later| later.item),
        );
        waiting.extend(
            std::mem::take(&mut self.next)
                .into_iter()
                .map(Taken::into_item),
        );
        self.stuck = 0;
        for (_, behind) in self.behind.drain() {
            waiting.extend(behind.queue.into_iter().map(Taken::into_item));
        }
        self.ended.released += waiting.len();
        let leases = self.away(waiting);
        self.let_go(&leases);
        if !leases.is_empty() {
            _ = self.with.consumer.release(&leases).await;
        }
    }
}
