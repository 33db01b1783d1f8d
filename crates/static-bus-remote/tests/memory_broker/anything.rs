//! Any sequence of the operations of members, compared with a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(Option<u8>),
    Receive { member: usize, max: usize },
    Acknowledge { delivery: usize },
    Release { delivery: usize },
    Renew { member: usize },
    Close { member: usize },
    Vanish { member: usize },
    Advance(u64),
}

const MEMBERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    prop_oneof![
        6 => prop::option::weighted(0.8, 0..4_u8).prop_map(Step::Append),
        4 => (member.clone(), 1..4_usize).prop_map(|(member, max)| Step::Receive { member, max }),
        4 => any::<usize>().prop_map(|delivery| Step::Acknowledge { delivery }),
        2 => any::<usize>().prop_map(|delivery| Step::Release { delivery }),
        1 => member.clone().prop_map(|member| Step::Renew { member }),
        1 => member.clone().prop_map(|member| Step::Close { member }),
        1 => member.prop_map(|member| Step::Vanish { member }),
        1 => (1..40_u64).prop_map(Step::Advance),
    ]
}

/// A record that was appended and is not settled.
struct Unsettled {
    key: Option<u8>,
    /// The number of deliveries, and of those that were not released.
    times: u32,
    attempts: u32,
    /// The holder, and the end of its lease.
    lease: Option<(u64, tokio::time::Instant)>,
}

/// The model of a group.
#[derive(Default)]
struct Model {
    unsettled: BTreeMap<usize, Unsettled>,
    appended: usize,
}

impl Model {
    fn held(&self, record: &Unsettled) -> Option<u64> {
        let (member, until) = record.lease?;
        (until > tokio::time::Instant::now()).then_some(member)
    }

    /// The record that this member has to receive next.
    fn next(&self, member: u64) -> Option<usize> {
        let may_have = |record: &Unsettled| {
            let same_key = |other: &&Unsettled| record.key.is_some() && other.key == record.key;
            let mut key = self.unsettled.values().filter(same_key);
            self.held(record).is_none() && key.all(|r| self.held(r).is_none_or(|m| m == member))
        };
        let mut all = self.unsettled.iter();
        all.find(|(_, record)| may_have(record)).map(|(n, _)| *n)
    }
}

async fn run(steps: Vec<Step>) {
    let broker = MemoryBroker::new();
    let mut model = Model::default();
    let mut joined = 0;
    let mut members = Vec::new();
    let mut join = async || {
        joined += 1;
        let consumer = member(&broker, Kind::Command, &joined.to_string()).await;
        (joined, consumer)
    };
    for _ in 0..MEMBERS {
        members.push(join().await);
    }
    let mut received: Vec<(u64, usize, u32, Delivery<Receipt>)> = Vec::new();

    for step in steps {
        match step {
            Step::Append(key) => {
                let n = model.appended;
                model.appended += 1;
                let sent = match key {
                    Some(key) => keyed(&key.to_string(), n),
                    None => record(n),
                };
                append(&broker, Kind::Command, [sent]).await;
                let (times, attempts, lease) = (0, 0, None);
                let unsettled = Unsettled {
                    key,
                    times,
                    attempts,
                    lease,
                };
                model.unsettled.insert(n, unsettled);
            }
            Step::Receive { member, max } => {
                let (id, consumer) = &members[member];
                let got = now(consumer, max).await;
                for delivery in &got {
                    let n: usize = bodies(std::slice::from_ref(delivery))[0].parse().unwrap();
                    assert_eq!(model.next(*id), Some(n));
                    let record = model.unsettled.get_mut(&n).unwrap();
                    record.times += 1;
                    record.attempts += 1;
                    record.lease = Some((*id, tokio::time::Instant::now() + LEASE));
                    assert_eq!(delivery.attempt, record.attempts);
                    received.push((*id, n, record.times, delivery.clone()));
                }
                assert!(got.len() == max || model.next(*id).is_none());
            }
            Step::Acknowledge { delivery } => {
                if received.is_empty() {
                    continue;
                }
                let (id, n, time, delivery) = received.swap_remove(delivery % received.len());
                // Late acknowledgements have their own test.
                let record = model.unsettled.get(&n);
                let times = record.map_or(0, |record| record.times);
                if times == time {
                    let by = members.iter().find(|(member, _)| *member == id);
                    let (_, by) = by.unwrap_or(&members[0]);
                    acknowledge(by, &[delivery]).await;
                    model.unsettled.remove(&n);
                }
            }
            Step::Release { delivery } => {
                if received.is_empty() {
                    continue;
                }
                let (id, n, time, delivery) = received.swap_remove(delivery % received.len());
                let Some((_, by)) = members.iter().find(|(member, _)| *member == id) else {
                    continue;
                };
                release(by, std::slice::from_ref(&delivery)).await;
                let record = model.unsettled.get(&n);
                let held = record.is_some_and(|r| r.times == time && model.held(r).is_some());
                if held && let Some(record) = model.unsettled.get_mut(&n) {
                    record.attempts -= 1;
                    record.lease = None;
                }
            }
            Step::Renew { member } => {
                let (id, consumer) = &members[member];
                // Ends leases that have run out: a renewal of one before that is not specified.
                consumer.backlog().await.unwrap();
                let its = received.iter().filter(|(by, ..)| by == id);
                for (_, n, time, delivery) in its {
                    consumer
                        .renew(&leases(std::slice::from_ref(delivery)))
                        .await
                        .unwrap();
                    if let Some(record) = model.unsettled.get(n)
                        && record.times == *time
                        && model.held(record).is_some()
                    {
                        let until = tokio::time::Instant::now() + LEASE;
                        model.unsettled.get_mut(n).unwrap().lease = Some((*id, until));
                    }
                }
            }
            Step::Close { member } => {
                let (id, consumer) = std::mem::replace(&mut members[member], join().await);
                consumer.close().await.unwrap();
                let now = tokio::time::Instant::now();
                for record in model.unsettled.values_mut() {
                    let held = record.lease.filter(|(by, _)| *by == id);
                    if let Some((_, until)) = held {
                        record.attempts -= u32::from(until > now);
                        record.lease = None;
                    }
                }
            }
            Step::Vanish { member } => members[member] = join().await,
            Step::Advance(seconds) => advance(Duration::from_secs(seconds)).await,
        }
        let pending = model.unsettled.values().filter(|r| model.held(r).is_some());
        let pending = pending.count() as u64;
        let backlog = members[0].1.backlog().await.unwrap();
        assert_eq!(backlog.pending, pending);
        assert_eq!(backlog.lag, model.unsettled.len() as u64 - pending);
    }

    // One member gets all the records that are left.
    let last = join().await.1;
    drop(members);
    while !model.unsettled.is_empty() {
        let got = last.receive(9, LONG).await.unwrap();
        assert!(!got.is_empty(), "{} are lost", model.unsettled.len());
        for body in bodies(&got) {
            model.unsettled.remove(&body.parse().unwrap()).unwrap();
        }
        acknowledge(&last, &got).await;
    }
    assert_eq!(last.backlog().await.unwrap(), Backlog::default());
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in prop::collection::vec(step(), 1..150)) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
