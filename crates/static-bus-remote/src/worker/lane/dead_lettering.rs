//! The writing of dead letters.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

use super::item::Item;
use crate::{
    dead_letters::DEAD_LETTERS,
    outbound::Outbound,
    retry,
    transport::{Lease, Record},
    worker::health::{Report, Task},
};

/// The messages whose dead letters are being written. Each is written until the broker accepts it.
pub(super) struct DeadLettering<R> {
    outbound: Outbound,
    report: Report,
    tasks: JoinSet<()>,
    items: HashMap<Id, (Item<R>, Record)>,
}

impl<R> DeadLettering<R> {
    pub fn new(outbound: Outbound, report: Report) -> Self {
        DeadLettering {
            outbound,
            report,
            tasks: JoinSet::new(),
            items: HashMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes the dead letter of an item.
    pub fn start(&mut self, item: Item<R>, dead_letter: Record) {
        let record = dead_letter.clone();
        let (outbound, report) = (self.outbound.clone(), self.report.clone());
        let writing = self.tasks.spawn(write(outbound, report, dead_letter));
        self.items.insert(writing.id(), (item, record));
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
            if let Some((item, record)) = self.items.remove(&id) {
                self.start(item, record);
            }
        }
    }

    /// Cancels what is being written. Returns the leases of the items.
    pub fn cancel(&mut self) -> impl Iterator<Item = Lease<R>> {
        self.tasks.abort_all();
        self.items.drain().map(|(_, (item, _))| item.into_lease())
    }
}

async fn write(outbound: Outbound, report: Report, dead_letter: Record) {
    let mut backoff = retry::reconnect();
    loop {
        let appended = outbound.append(DEAD_LETTERS, dead_letter.clone()).await;
        let is_written = appended.is_ok();
        report.of(Task::WriteDeadLetter, appended);
        if is_written {
            return;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
