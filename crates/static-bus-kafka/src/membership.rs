//! The membership in a consumer group: the common part of consumers and receivers of queries.
//!
//! A thread polls the client, because that is needed often and blocks. A member joins its group at the first
//! `receive`: partitions that are assigned to a member that does not receive would stand still. When a partition
//! moves to another member, leased records may be settled for a while, and their commit is awaited; meanwhile a
//! [detour](detour) reads the other partitions. When a lease runs out, the member leaves the group until the next
//! `receive`, and other members get its records. A member whose client fetches no more leaves, too, and joins with
//! another one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    time::Duration,
};

use rdkafka::{ClientConfig, consumer::base_consumer::PartitionQueue, error::KafkaError};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::thread::MemberThread;
use super::{
    assignment::{Assignment, Commit, Leased, Progress, Ticket},
    clients,
    cluster::Cluster,
    events::{Client, Events},
    outputs::{Acknowledgement, Output},
    receipt::KafkaReceipt,
    transactions::Committer,
};
use static_bus_remote::{
    lock::lock,
    time::{later, millis},
    transport::TransportError,
};

mod detour;
mod thread;

/// The setting for the time after which the group removes a silent member.
const SESSION_TIMEOUT: &str = "session.timeout.ms";
/// The shortest session timeout, which is the default lower limit of Kafka.
pub(super) const MIN_SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// The longest session timeout that is used by default.
pub(super) const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The time without a connection after which a cluster counts as gone.
const GONE_TIME: Duration = Duration::from_secs(2);
/// The interval at which the connections are looked at.
const GONE_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A member of a group. It leaves the group when it is dropped.
pub(super) struct Member<P: Progress>(Arc<Membership<P>>);

/// The state that a member shares with its thread.
struct Membership<P> {
    cluster: Arc<Cluster>,
    /// The configuration of the client.
    config: ClientConfig,
    topic: Arc<str>,
    assignment: Mutex<Assignment<P>>,
    /// The producer of transactional commits, if commits are transactions.
    committer: Option<Committer>,
    /// The commits for the thread that runs them.
    commits: mpsc::Sender<(Arc<Self>, Commit)>,
    intent: Mutex<Intent>,
    /// Signals that records may be available.
    arrived: Notify,
    /// Signals that commits have ended.
    commit_ended: watch::Sender<()>,
    /// `true` if the thread has ended.
    ended: watch::Sender<bool>,
}

/// The intent of a member.
#[derive(Default, Clone, Copy)]
struct Intent {
    receives: bool,
    closes: bool,
}

/// Starts a client of a member.
pub(super) fn client(
    cluster: &Cluster,
    config: &ClientConfig,
) -> Result<Arc<Client>, TransportError> {
    let client = clients::start(cluster.settings(), config, Events::default())?;
    Ok(Arc::new(client))
}

/// The session timeout in a configuration.
pub(super) fn session_timeout(config: &ClientConfig) -> Duration {
    let set = config.get(SESSION_TIMEOUT).and_then(|ms| ms.parse().ok());
    set.map_or(MIN_SESSION_TIMEOUT, Duration::from_millis)
}

/// The configuration of a consumer with defaults for a member, which the settings may override.
pub(super) fn with_defaults(mut config: ClientConfig, session_timeout: Duration) -> ClientConfig {
    let mut default = |name: &str, value: &str| {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    };
    default(SESSION_TIMEOUT, &millis(session_timeout).to_string());
    default("heartbeat.interval.ms", "500");
    // The state of the membership, which is awaited before the member leaves.
    default("statistics.interval.ms", "200");
    // Limits for each partition.
    default("queued.min.messages", "10000");
    default("queued.max.messages.kbytes", "8192");
    config
}

impl<P: Progress> Member<P> {
    /// Starts the threads. The member joins its group at the first [`receive`](Self::receive).
    pub fn start(
        cluster: &Arc<Cluster>,
        config: ClientConfig,
        client: Arc<Client>,
        assignment: Assignment<P>,
        committer: Option<Committer>,
    ) -> Result<Self, TransportError> {
        let (commits, begun) = mpsc::channel();
        let membership = Arc::new(Membership {
            cluster: cluster.clone(),
            config,
            topic: assignment.topic().clone(),
            assignment: Mutex::new(assignment),
            committer,
            commits,
            intent: Mutex::default(),
            arrived: Notify::new(),
            commit_ended: watch::Sender::new(()),
            ended: watch::Sender::new(false),
        });
        let thread = MemberThread::new(membership.clone(), client);
        cluster.start_thread("kafka commits", || run_commits(begun))?;
        cluster.start_thread("kafka member", || thread.run())?;
        Ok(Member(membership))
    }

    /// Begins to join the group before the first [`receive`](Self::receive).
    pub fn join(&self) {
        lock(&self.0.intent).receives = true;
    }

    /// Waits until there are records, but no longer than `wait`, and returns up to `max` of them. A dropped future
    /// loses no record.
    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<P::Item>, TransportError> {
        let end = later(Instant::now(), wait);
        loop {
            lock(&self.0.intent).receives = true;
            let arrived = self.0.arrived.notified();
            let (taken, error) = self.assignment().take(max);
            match error {
                Some(error) if taken.is_empty() => return Err(self.error("receiving", &error)),
                _ if !taken.is_empty() || Instant::now() >= end => return Ok(taken),
                _ => _ = tokio::time::timeout_at(end, arrived).await,
            }
        }
    }

    /// The partitions of the member.
    pub fn assignment(&self) -> MutexGuard<'_, Assignment<P>> {
        self.0.assignment()
    }

    /// Lets a waiting [`receive`](Self::receive) look for records again.
    pub fn wake(&self) {
        self.0.arrived.notify_one();
    }

    /// Makes a change, and waits until it is committed. Without a ticket there is nothing to wait for.
    pub async fn commit<T>(
        &self,
        change: impl FnOnce(&mut Assignment<P>) -> (Option<Ticket>, T),
    ) -> Result<T, TransportError> {
        let mut commit_ended = self.0.commit_ended.subscribe();
        let (ticket, result) = change(&mut self.assignment());
        let Some(ticket) = ticket else {
            return Ok(result);
        };
        self.0.commit();
        let committed = async {
            loop {
                let outcome = self.assignment().outcome(ticket);
                if let Some(outcome) = outcome {
                    return outcome;
                }
                if commit_ended.changed().await.is_err() {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(self.0.cluster.settings().deadline(), committed).await {
            Ok(Ok(())) => Ok(result),
            Ok(Err(error)) => Err(self.error("committing", &error)),
            Err(_) => Err(self.0.cluster.unanswered("committing")),
        }
    }

    /// Leaves the group, and waits until the thread has ended: until this time, or until the cluster is
    /// [gone](Self::cluster_is_gone).
    pub async fn close(&self, end: Instant) -> Result<(), TransportError> {
        let mut ended = self.0.ended.subscribe();
        self.0.close();
        let ending = async {
            tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => true,
                () = self.cluster_is_gone() => false,
            }
        };
        match tokio::time::timeout_at(end, ending).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.0.cluster.unanswered("leaving a group")),
        }
    }

    /// Waits until the client has had no connection for some time.
    pub async fn cluster_is_gone(&self) {
        let is_gone = || self.assignment().events().has_no_connection_for(GONE_TIME);
        while !is_gone() {
            tokio::time::sleep(GONE_CHECK_INTERVAL).await;
        }
    }

    fn error(&self, doing: &str, error: &KafkaError) -> TransportError {
        self.0.cluster.error(doing, error)
    }
}

impl Member<Leased> {
    /// Returns `true` if output of this record, or for one of these topics, was refused.
    pub fn suspects(&self, receipt: &KafkaReceipt, outputs: &[Output]) -> bool {
        let committer = self.0.committer.as_ref();
        committer.is_some_and(|committer| committer.suspects(receipt, outputs))
    }

    /// Tries out whether the cluster accepts the output of an attempt. That of a lost lease is not appended in any case.
    pub async fn try_out(&self, acknowledgement: Acknowledgement) -> Result<(), TransportError> {
        let names: BTreeSet<_> = acknowledgement.outputs.iter().map(Output::name).collect();
        let names = Vec::from_iter(names).join(", ");
        let membership = self.0.clone();
        let trial = move || {
            let trial = membership.assignment().trial(acknowledgement);
            match trial.zip(membership.committer.as_ref()) {
                Some((trial, committer)) => trial.try_out(committer),
                None => Ok(()),
            }
        };
        let tried = clients::on_thread(trial).await;
        tried
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|e| self.error(&format!("appending the output of a handler to {names}"), &e))
    }
}

impl<P: Progress> Drop for Member<P> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<P: Progress> Membership<P> {
    fn assignment(&self) -> MutexGuard<'_, Assignment<P>> {
        lock(&self.assignment)
    }

    /// The queue of a partition. Its messages wake [`receive`](Member::receive).
    fn queue(
        self: &Arc<Self>,
        client: &Arc<Client>,
        number: i32,
    ) -> Option<PartitionQueue<Events>> {
        let mut queue = client.split_partition_queue(&self.topic, number)?;
        let membership = Arc::downgrade(self);
        queue.set_nonempty_callback(move || {
            if let Some(membership) = membership.upgrade() {
                membership.arrived.notify_one();
            }
        });
        Some(queue)
    }

    /// Begins to commit all changes, unless a commit is in progress.
    fn commit(self: &Arc<Self>) {
        if let Some(commit) = self.assignment().next_commit() {
            // The thread ends later than the membership.
            _ = self.commits.send((self.clone(), commit));
        }
    }

    /// Tells the thread to leave the group for good.
    fn close(&self) {
        lock(&self.intent).closes = true;
    }
}

/// Runs the commits of a membership until it is dropped. Commits are synchronous, because the client reports the
/// result of no other. They have a thread of their own: without the cluster they do not end.
fn run_commits<P: Progress>(begun: mpsc::Receiver<(Arc<Membership<P>>, Commit)>) {
    for (membership, commit) in begun {
        let result = commit.run(membership.committer.as_ref());
        // Without the client: the last reference to it belongs to the thread that polls it.
        let acknowledgements = commit.into_acknowledgements();
        membership
            .assignment()
            .on_committed(result, acknowledgements);
        membership.commit();
        membership.commit_ended.send_replace(());
        membership.arrived.notify_one();
    }
}
