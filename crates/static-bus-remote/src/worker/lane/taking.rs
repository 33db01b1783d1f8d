//! In: messages are received, their keys claimed, and those of one key put in line.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Behind, Claim, Consumer, Due, Entry, Item, Lane, Later, Lease, Task, TransportError};
use crate::{
    reply,
    worker::intake::{self, Batch, Taken},
};

/// So many may be stuck, or handled and not acknowledged, before a lane takes in fewer.
const STUCK: usize = 16 * 1024;

impl<C: Consumer> Lane<C> {
    /// How many more messages may be here. Where handlers take time, not many more than run: those
    /// that wait here could be handled elsewhere. Those that are stuck leave room for others, or
    /// they would hold up everything; so do those that are handled, as some brokers take long to hear of it.
    fn room(&self) -> usize {
        let limit = self.with.served.limit;
        let window = if self.quick {
            limit.max(512) * 2
        } else {
            limit * 2
        };
        let left = window.saturating_sub(self.here - self.stuck - self.handled);
        left.min((STUCK + window).saturating_sub(self.here))
    }

    /// Whether a batch may be taken in; not for a few, because a batch is cheaper. One that may end this
    /// worker is alone here, so that the others are not suspected with it.
    pub(super) fn can_take(&self) -> bool {
        if self.careful && self.here > self.stuck {
            return false;
        }
        let enough = self.with.served.limit.min(64);
        self.taking.is_none() && !self.closing && self.room() >= enough
    }

    pub(super) fn start_taking(&mut self) {
        if self.can_take() && Instant::now() >= self.take_again {
            let (consumer, asking) = (self.with.consumer.clone(), self.asking.clone());
            let draining = self.with.draining.clone();
            let most = if self.careful {
                1
            } else {
                self.room().min(512)
            };
            let take = intake::take(consumer, asking, most, self.with.report.clone(), draining);
            self.taking = Some(Box::pin(take));
        }
    }

    pub(super) fn on_taken(&mut self, taken: Result<Batch<C::Receipt>, TransportError>) {
        match taken {
            Ok(Batch { taken, careful }) => {
                if !taken.is_empty() || careful {
                    self.careful = careful;
                }
                self.backoff.reset();
                self.with.report.of(Task::Receive, Ok(()));
                self.hold(&taken);
                for taken in taken {
                    self.enter(taken);
                }
            }
            Err(error) => {
                self.with.report.of(Task::Receive, Err(error));
                self.take_again = Instant::now() + self.backoff.next_delay();
            }
        }
    }

    fn enter(&mut self, taken: Taken<C::Receipt>) {
        self.here += 1;
        let Some(key) = taken.item().record.key.clone() else {
            return self.next.push_back(taken);
        };
        match self.behind.entry(key) {
            Entry::Occupied(mut behind) => {
                let behind = behind.get_mut();
                self.stuck += usize::from(behind.stuck);
                behind.queue.push_back(taken);
            }
            Entry::Vacant(free) => {
                free.insert(Behind {
                    queue: VecDeque::new(),
                    stuck: false,
                });
                self.next.push_back(taken);
            }
        }
    }

    /// Sees to it that leases are renewed.
    fn hold(&self, taken: &[Taken<C::Receipt>]) {
        if let Some(leases) = &self.leases {
            leases.hold(taken.iter().map(|taken| &taken.item().lease));
        }
    }

    pub(super) fn let_go(&self, leases: &[Lease<C::Receipt>]) {
        if let Some(held) = &self.leases {
            held.let_go(leases);
        }
    }

    pub(super) fn sort_next(&mut self) {
        while let Some(taken) = self.next.pop_front() {
            match taken {
                Taken::Handle(item) if item.before >= self.with.settings.retries.max_attempts => {
                    self.bury(item);
                }
                Taken::Handle(item) => self.ready.push_back(item),
                Taken::ClaimLater(item) => match self.claimed_behind(&item) {
                    // Each would wait for the other: they change places.
                    Some(duplicate) => {
                        let duplicate = std::mem::replace(duplicate, Taken::ClaimLater(item));
                        self.next.push_front(duplicate);
                    }
                    None => {
                        let wait = self.with.settings.lease / 4;
                        let bounds = (Duration::from_millis(20), Duration::from_secs(1));
                        self.wait(wait.clamp(bounds.0, bounds.1), Due::Claim, item);
                    }
                },
                Taken::Duplicate(item) => {
                    self.with.meter.duplicates.increment(1);
                    self.settle(item);
                }
                Taken::NotForUs(item) => self.settle(item),
                Taken::Unreadable(item, error) => self.unreadable(item, error),
                Taken::Unknown(item, _) if self.is_query() => {
                    self.reply(&item, reply::Outcome::NoHandler);
                    self.settle(item);
                }
                Taken::Unknown(item, error) => self.unreadable(item, error),
            }
        }
    }

    /// A duplicate of an item that came in behind it, and has the claim.
    fn claimed_behind(&mut self, item: &Item<C::Receipt>) -> Option<&mut Taken<C::Receipt>> {
        let behind = self.behind.get_mut(item.record.key.as_ref()?)?;
        let has_claim = |taken: &&mut Taken<_>| match taken {
            Taken::Handle(other) => other.key == item.key,
            _ => false,
        };
        behind.queue.iter_mut().find(has_claim)
    }

    pub(super) fn wait(&mut self, time: Duration, what: Due, item: Item<C::Receipt>) {
        self.turn += 1;
        self.stuck += self.set_stuck(&item, true);
        self.later.push(Later {
            at: Instant::now() + time,
            turn: self.turn,
            what,
            item,
        });
    }

    /// Says of how many this is true: the item, and those behind it.
    fn set_stuck(&mut self, item: &Item<C::Receipt>, stuck: bool) -> usize {
        let key = item.record.key.as_ref();
        let Some(behind) = key.and_then(|key| self.behind.get_mut(key)) else {
            return 1;
        };
        behind.stuck = stuck;
        1 + behind.queue.len()
    }

    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        while self.later.peek().is_some_and(|later| later.at <= now)
            && let Some(Later { what, item, .. }) = self.later.pop()
        {
            self.stuck -= self.set_stuck(&item, false);
            match what {
                Due::Attempt => self.ready.push_back(item),
                Due::Claim => self.to_claim.push(item),
            }
        }
    }

    pub(super) fn start_claiming(&mut self) {
        if self.claiming.is_none() && !self.to_claim.is_empty() {
            let items = std::mem::take(&mut self.to_claim);
            let (consumer, report) = (self.with.consumer.clone(), self.with.report.clone());
            self.claiming = Some(Box::pin(async move {
                let keys: Vec<_> = items.iter().map(|item| item.key.clone()).collect();
                let claims = intake::claim(&*consumer, &keys, &report).await;
                (items, claims)
            }));
        }
    }

    pub(super) fn on_claimed(&mut self, items: Vec<Item<C::Receipt>>, claims: Vec<Option<Claim>>) {
        let judged = items.into_iter().zip(claims);
        let judged: Vec<_> = judged
            .map(|(item, claim)| intake::judge(item, claim))
            .collect();
        self.hold(&judged);
        self.next.extend(judged);
    }
}
