//! A member joins its group, is given partitions, gives them up, and leaves.
//!
//! A thread does that: it has to look after the client often, and waits for the cluster meanwhile. A member
//! joins when it first receives, since partitions of one that does not are nobody's. When partitions move,
//! what is not handed out stays; what is in flight may be settled for a while, and its commit is waited
//! for. A lease that runs out has the member leave, until it receives again: it has shown no sign
//! of life, and others go on with what it had.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaResult,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use self::thread::Membership;
use super::{
    assignment::{Assignment, Commit},
    transactions::Committer,
};
use static_bus_remote::lock::lock;

mod events;
mod thread;

pub(super) use self::events::Events;

/// What the thread and its member share.
pub(super) struct Shared {
    pub topic: Arc<str>,
    assignment: Mutex<Assignment>,
    /// What commits in transactions, if that is so.
    committer: Option<Committer>,
    intent: Mutex<Intent>,
    runtime: Handle,
    /// Something may be there to receive.
    pub arrived: Notify,
    /// Commits have ended.
    pub settled: watch::Sender<()>,
    /// Whether the thread has ended.
    pub ended: watch::Sender<bool>,
}

/// What the member wants.
#[derive(Default, Clone, Copy)]
struct Intent {
    receives: bool,
    closes: bool,
}

impl Shared {
    /// Starts the thread.
    pub fn start(
        topic: Arc<str>,
        assignment: Assignment,
        committer: Option<Committer>,
        check: Duration,
    ) -> Option<Arc<Self>> {
        let client = assignment.client.clone()?;
        let shared = Arc::new(Shared {
            topic,
            assignment: Mutex::new(assignment),
            committer,
            intent: Mutex::default(),
            runtime: Handle::current(),
            arrived: Notify::new(),
            settled: watch::Sender::new(()),
            ended: watch::Sender::new(false),
        });
        let membership = Membership::new(shared.clone(), client, check);
        let thread = std::thread::Builder::new().name("kafka-member".to_owned());
        thread.spawn(move || membership.run()).ok()?;
        Some(shared)
    }

    pub fn assignment(&self) -> MutexGuard<'_, Assignment> {
        lock(&self.assignment)
    }

    /// Commits what has changed, without waiting for it. The client tells nobody how a commit has ended
    /// but those who wait.
    pub fn commit(self: &Arc<Self>) {
        if let Some(commit) = self.assignment().next_commit() {
            let shared = self.clone();
            self.runtime
                .spawn_blocking(move || shared.commit_now(Some(commit)));
        }
    }

    /// Commits until nothing is left to commit.
    fn commit_now(&self, mut next: Option<Commit>) {
        while let Some(commit) = next {
            let result = self.commit_one(&commit);
            drop(commit.client);
            let mut assignment = self.assignment();
            assignment.on_committed(&result, commit.mailbox);
            next = assignment.next_commit();
            drop(assignment);
            self.settled.send_replace(());
            self.arrived.notify_one();
        }
    }

    fn commit_one(&self, commit: &Commit) -> KafkaResult<()> {
        let Commit {
            client,
            list,
            mailbox,
            group,
        } = commit;
        let Some(committer) = &self.committer else {
            return client.commit(list, CommitMode::Sync);
        };
        let is_over = || *self.ended.borrow() || self.assignment().client.is_none();
        committer.commit(client, list, group.as_ref(), mailbox, is_over)
    }

    /// The member receives, and needs partitions.
    pub fn receives(&self) {
        lock(&self.intent).receives = true;
    }

    /// The member leaves for good.
    pub fn closes(&self) {
        lock(&self.intent).closes = true;
    }
}

/// Partitions of a topic.
pub(super) fn list(topic: &str, numbers: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(numbers.len());
    for number in numbers {
        list.add_partition(topic, *number);
    }
    list
}
