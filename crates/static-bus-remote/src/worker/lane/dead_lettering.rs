//! The writing of dead letters.

use std::{collections::HashMap, sync::Arc};

use tokio::task::{Id, JoinSet};

use super::item::Item;
use crate::{
    DeadLetter, TransportErrorKind,
    dead_letters::DEAD_LETTERS,
    outbound::Outbound,
    retry,
    transport::Lease,
    worker::health::{Report, Task},
};

/// The messages whose dead letters are being written. Each is written until the broker accepts it.
pub(super) struct DeadLettering<R> {
    outbound: Outbound,
    /// The worker that writes.
    member: Arc<str>,
    report: Report,
    tasks: JoinSet<()>,
    items: HashMap<Id, (Item<R>, DeadLetter)>,
}

impl<R> DeadLettering<R> {
    pub fn new(outbound: Outbound, member: Arc<str>, report: Report) -> Self {
        DeadLettering {
            outbound,
            member,
            report,
            tasks: JoinSet::new(),
            items: HashMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes the dead letter of an item.
    pub fn start(&mut self, item: Item<R>, letter: DeadLetter) {
        let (outbound, report) = (self.outbound.clone(), self.report.clone());
        let writing = write(outbound, report, letter.clone(), self.member.clone());
        let id = self.tasks.spawn(writing).id();
        self.items.insert(id, (item, letter));
    }

    /// Waits until a dead letter is written, and returns its item; forever if none is being written.
    pub async fn written(&mut self) -> Item<R> {
        loop {
            let id = match self.tasks.join_next_with_id().await {
                Some(Ok((id, ()))) => match self.items.remove(&id) {
                    Some((item, _)) => return item,
                    None => continue,
                },
                Some(Err(error)) => error.id(),
                None => std::future::pending().await,
            };
            if let Some((item, letter)) = self.items.remove(&id) {
                self.start(item, letter);
            }
        }
    }

    /// Cancels what is being written. Returns the leases of the items.
    pub fn cancel(&mut self) -> impl Iterator<Item = Lease<R>> {
        self.tasks.abort_all();
        self.items.drain().map(|(_, (item, _))| item.into_lease())
    }
}

/// Writes a dead letter until the broker accepts it: without parts of the message, if it is too large.
async fn write(outbound: Outbound, report: Report, mut letter: DeadLetter, member: Arc<str>) {
    let mut backoff = retry::reconnect();
    loop {
        let record = letter.to_record(&member);
        let appended = outbound.append(DEAD_LETTERS, record).await;
        let failed = appended.as_ref().err().map(|error| error.kind());
        if failed == Some(TransportErrorKind::TooLarge) && letter.shrink() {
            continue;
        }
        report.of(Task::WriteDeadLetter, appended);
        if failed.is_none() {
            return;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
