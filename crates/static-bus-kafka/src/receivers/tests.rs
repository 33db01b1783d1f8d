//! The number of questions to the cluster, and the answers that follow from its own.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

use tokio::task::JoinSet;

use super::*;

const GRACE: Duration = Duration::from_secs(30);

/// The groups of a cluster that counts the questions.
#[derive(Clone)]
struct Counted(Arc<Counts>);

struct Counts {
    group: Mutex<Option<Group>>,
    may_describe: bool,
    /// The position of the group.
    position: AtomicI64,
    look_ups: AtomicUsize,
    committed: AtomicUsize,
}

impl Counted {
    fn new(group: Option<Group>, may_describe: bool) -> Self {
        Counted(Arc::new(Counts {
            group: Mutex::new(group),
            may_describe,
            position: AtomicI64::new(0),
            look_ups: AtomicUsize::new(0),
            committed: AtomicUsize::new(0),
        }))
    }

    /// The number of look-ups, and of questions for its commits.
    fn counts(&self) -> (usize, usize) {
        (self.0.look_ups.load(SeqCst), self.0.committed.load(SeqCst))
    }
}

impl Groups for Counted {
    async fn look_up(&self, _: &Topic) -> Option<Group> {
        self.0.look_ups.fetch_add(1, SeqCst);
        let group = *lock(&self.0.group);
        tokio::time::sleep(Duration::from_millis(10)).await;
        group
    }

    async fn committed(&self, _: &Topic) -> Option<Committed> {
        self.0.committed.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let position = Offset::Offset(self.0.position.load(SeqCst));
        self.0.may_describe.then(|| vec![(position, String::new())])
    }
}

fn topic() -> Topic {
    Topic {
        kind: static_bus_remote::transport::Kind::Query,
        name: "users.get".into(),
    }
}

/// The answers to queries that are sent at the same time.
async fn send(receivers: &Arc<Receivers>, groups: &Counted, queries: usize) -> Vec<bool> {
    let mut sending = JoinSet::new();
    for _ in 0..queries {
        let (receivers, groups) = (receivers.clone(), groups.clone());
        sending.spawn(async move { receivers.accept(groups, &topic()).await });
    }
    sending.join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_hidden_group_costs_a_look_in_an_interval_and_a_client_in_a_minute() {
    let receivers = Arc::new(Receivers::new(GRACE));
    let groups = Counted::new(Some(Group::Missing), false);
    assert_eq!(send(&receivers, &groups, 100).await, [true; 100]);
    assert_eq!(groups.counts(), (1, 1), "of the first hundred queries");
    // Five minutes.
    for _ in 0..3000 {
        assert_eq!(send(&receivers, &groups, 2).await, [true; 2]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (look_ups, clients) = groups.counts();
    assert!((30..=61).contains(&look_ups), "{look_ups} look-ups");
    assert!((4..=6).contains(&clients), "{clients} clients");
}

#[tokio::test(start_paused = true)]
async fn queries_that_wait_for_an_answer_share_it_and_a_receiver_that_has_opened_is_in_it() {
    let receivers = Arc::new(Receivers::new(GRACE));
    let groups = Counted::new(Some(Group::Missing), true);
    assert_eq!(send(&receivers, &groups, 100).await, [false; 100]);
    assert_eq!(groups.counts(), (1, 1));
    let first = tokio::spawn({
        let (receivers, groups) = (receivers.clone(), groups.clone());
        async move { send(&receivers, &groups, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The look-up of the first query has begun.
    *lock(&groups.0.group) = Some(Group::HasMembers);
    assert_eq!(send(&receivers, &groups, 100).await, [true; 100]);
    assert_eq!(first.await.unwrap(), [false]);
    assert_eq!(groups.counts(), (3, 1), "the permission is known");
}

#[tokio::test(start_paused = true)]
async fn a_query_is_refused_when_its_group_has_been_empty_for_the_grace_time() {
    for empty in [Group::Empty, Group::Missing] {
        let receivers = Arc::new(Receivers::new(GRACE));
        let groups = Counted::new(Some(Group::HasMembers), true);
        assert_eq!(send(&receivers, &groups, 1).await, [true]);
        *lock(&groups.0.group) = Some(empty);
        let left = Instant::now();
        while send(&receivers, &groups, 1).await == [true] {
            assert!(left.elapsed() < 2 * GRACE, "accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(left.elapsed() >= GRACE, "{:?}", left.elapsed());
        // A cluster that does not answer.
        *lock(&groups.0.group) = None;
        assert_eq!(send(&receivers, &groups, 1).await, [true]);
        *lock(&groups.0.group) = Some(Group::HasMembers);
        assert_eq!(send(&receivers, &groups, 1).await, [true]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_came_and_went_unseen_begins_the_grace_time_anew() {
    let receivers = Arc::new(Receivers::new(GRACE));
    let groups = Counted::new(Some(Group::Empty), true);
    assert_eq!(send(&receivers, &groups, 1).await, [true]);
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        groups.0.position.fetch_add(1, SeqCst);
        assert_eq!(send(&receivers, &groups, 1).await, [true]);
        tokio::time::sleep(GRACE - GRACE / 10).await;
        assert_eq!(send(&receivers, &groups, 1).await, [true]);
        tokio::time::sleep(GRACE / 10).await;
        assert_eq!(send(&receivers, &groups, 100).await, [false; 100]);
    }
    assert_eq!(groups.counts().1, 7);
    // Ten seconds.
    for _ in 0..100 {
        assert_eq!(send(&receivers, &groups, 1).await, [false]);
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
    assert_eq!(groups.counts().1, 9, "each costs a client");
}
