//! The order of records with one key, with any number of members.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::support::{
    AT_ONCE, DEADLINE, Dice, Member, SILENCE, Tally, append, connect, drain, id, ids, join,
    join_all, join_as, keyed, leases, list, record, subscription, topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::{
    lock::lock,
    transport::{Consumer, Delivery, Kind},
};

/// Ten members receive 1,000 records of 16 keys: the records of a key are with one member at a time, and are received
/// in the order in which they were appended.
///
/// Fails for an engine that gives the next record to any member that asks.
pub async fn sixteen_keys_keep_their_order_over_ten_members<H: Harness>(harness: &H) -> Outcome {
    sixteen_keys(harness, None).await
}

/// The order of sixteen keys is kept while members release their records; where records are shared, also while members
/// leave and join.
///
/// Fails for an engine that gives a released record to one member and the next of its key to another.
pub async fn sixteen_keys_keep_their_order_while_members_release_and_leave<H: Harness>(
    harness: &H,
) -> Outcome {
    sixteen_keys(harness, Some(5)).await
}

/// About one of `nth` batches is not acknowledged: its member releases it, or closes.
async fn sixteen_keys<H: Harness>(harness: &H, nth: Option<u64>) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "ordered");
    let mut joined = Vec::new();
    for n in 0..10 {
        joined.push(join(&transport, &topic, "handlers", &format!("member {n}")).await);
    }

    let tally = Arc::new(Tally::new(0..1_000));
    let order = Arc::new(Order::default());
    let mut members = JoinSet::new();
    for (n, mut member) in joined.into_iter().enumerate() {
        let (transport, topic) = (transport.clone(), topic.clone());
        let (tally, order) = (Arc::clone(&tally), Arc::clone(&order));
        members.spawn(async move {
            let mut dice = Dice::new(n);
            while !tally.complete() {
                let got = member.receive(7, Duration::from_millis(250)).await;
                order.delivered(member.name(), &got);
                if !got.is_empty() && nth.is_some_and(|n| dice.below(n) == 0) {
                    order.released(&got);
                    if member.sharing() == Sharing::Records && dice.below(2) == 0 {
                        member.close().await;
                        let name = format!("{} again", member.name());
                        member = join(&transport, &topic, "handlers", &name).await;
                    } else {
                        member.release(&leases(&got)).await;
                    }
                    continue;
                }
                for one in &got {
                    tokio::time::sleep(Duration::from_micros(dice.below(2_000))).await;
                    let one = std::slice::from_ref(one);
                    tally.saw(one);
                    order.settled(one);
                    member.acknowledge(one).await;
                }
            }
        });
    }
    for hundred in 0..10 {
        let some =
            (hundred * 100..(hundred + 1) * 100).map(|n| keyed(n, &format!("key {}", n % 16)));
        append(&transport, &topic, some).await;
    }
    join_all(members).await;
    tally.exactly_once();
    Ok(())
}

/// A released record is the next of its key. Several released records keep their order, whatever the order of their
/// release. Where partitions are shared, they go to the member that released them.
///
/// Fails for an engine that appends released records at the end.
pub async fn a_released_record_comes_before_the_next_of_its_key<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "released");
    let first = join(&transport, &topic, "handlers", "first").await;
    let second = join(&transport, &topic, "handlers", "second").await;
    let second = first.or(&second);

    append(&transport, &topic, [keyed(1, "key")]).await;
    let one = first.take(1).await;
    append(&transport, &topic, [keyed(2, "key"), keyed(3, "key")]).await;
    first.release(&leases(&one)).await;
    let all = second.take_within(3, AT_ONCE).await;
    assert_eq!(ids(&all), [1, 2, 3], "after the first was released");

    append(&transport, &topic, [keyed(4, "key")]).await;
    let mixed = leases(&[all[2].clone(), all[0].clone(), all[1].clone()]);
    second.release(&mixed).await;
    for expected in 1..=4 {
        let next = first.take_within(1, AT_ONCE).await;
        assert_eq!(ids(&next), [expected], "after all were released");
        first.acknowledge(&next).await;
    }
    Ok(())
}

/// A member that holds two records of a key keeps the key when it acknowledges or releases one of them. Where
/// partitions are shared, it keeps the key until it closes.
///
/// Fails for an engine that frees a key with the first settled record.
pub async fn a_key_goes_to_another_member_only_when_all_of_it_is_settled<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    for release in [false, true] {
        let topic = topic(Kind::Command, format!("settled {release}"));
        let holder = join(&transport, &topic, "handlers", "holder").await;
        let other = join(&transport, &topic, "handlers", "other").await;
        append(&transport, &topic, (1..=3).map(|n| keyed(n, "key"))).await;
        let held = holder.take(2).await;
        assert_eq!(ids(&held), [1, 2]);
        other
            .receives_nothing(SILENCE, "the holder has records of the key")
            .await;

        for one in &held {
            other
                .receives_nothing(SILENCE, "the holder still has one of them")
                .await;
            if release {
                holder.release(&leases(std::slice::from_ref(one))).await;
            } else {
                holder.acknowledge(std::slice::from_ref(one)).await;
            }
        }
        if holder.sharing() == Sharing::Partitions {
            holder.close().await;
        }
        let expected: &[usize] = if release { &[1, 2, 3] } else { &[3] };
        let got = other.take_within(expected.len(), AT_ONCE).await;
        assert_eq!(ids(&got), expected, "when the holder has settled all");
    }
    Ok(())
}

/// While a key is held and hundreds of its records wait, the records behind them are delivered: one without a key,
/// and those of at least half of 32 other keys. An engine that maps keys to partitions may block the keys in the
/// partition of the held key. Where members share partitions, that partition may have the record without a key as
/// well, and the other records go to either member.
///
/// Fails for an engine that stops at the first record that it may not deliver, or that searches only a few records.
pub async fn a_held_key_blocks_no_other<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "held");
    let holder = join(&transport, &topic, "handlers", "holder").await;
    let other = join(&transport, &topic, "handlers", "other").await;
    append(&transport, &topic, [keyed(0, "held")]).await;
    let held = holder.take(1).await;
    append(&transport, &topic, (1..500).map(|n| keyed(n, "held"))).await;
    let free = (500..532).map(|n| keyed(n, &format!("free {n}")));
    append(&transport, &topic, free.chain([record(532)])).await;

    if holder.sharing() == Sharing::Partitions {
        return behind_a_held_key(&holder, &held, other).await;
    }
    // Of 32 keys about half are the other member's: a hash spreads them.
    let mut got = other.take_within(8, AT_ONCE).await;
    let start = Instant::now();
    while !ids(&got).contains(&532) {
        assert!(
            start.elapsed() < AT_ONCE,
            "record 532 has no key, and is blocked"
        );
        got.extend(other.receive(20, SILENCE).await);
    }
    let of_held: Vec<_> = ids(&got).into_iter().filter(|n| *n < 500).collect();
    assert!(
        of_held.is_empty(),
        "other got {}, though the key is held",
        list(of_held)
    );

    let tally = Arc::new(Tally::new(1..533));
    tally.saw(&got);
    other.acknowledge(&got).await;
    holder.acknowledge(&held).await;
    drain(vec![other], &tally, 100).await;
    tally.exactly_once();
    Ok(())
}

/// While record 0 is held, at least half of the records 500 to 532 go to either member, and 1 to 499 go to the
/// holder only. Then all others follow.
async fn behind_a_held_key<C: Consumer>(
    holder: &Member<C>,
    held: &[Delivery<C::Receipt>],
    other: Member<C>,
) -> Outcome {
    let tally = Arc::new(Tally::new(1..533));
    let (mut free, start) = (0, Instant::now());
    let mut of_holder = Vec::new();
    while free < 17 {
        assert!(start.elapsed() < DEADLINE, "{free} of 33 came");
        for member in [holder, &other] {
            let got = member.receive(100, SILENCE).await;
            tally.saw(&got);
            let (of_held, done): (Vec<_>, Vec<_>) =
                got.into_iter().partition(|one| id(&one.record) < 500);
            free += done.len();
            member.acknowledge(&done).await;
            assert!(
                of_held.is_empty() || std::ptr::eq(member, holder),
                "other got {}, though the key is held",
                list(ids(&of_held))
            );
            of_holder.extend(of_held);
        }
    }
    let order = ids(&of_holder);
    assert!(order.is_sorted(), "the order of the held key: {order:?}");
    holder.acknowledge(&of_holder).await;
    holder.acknowledge(held).await;
    holder.close().await;
    drain(vec![other], &tally, 100).await;
    tally.exactly_once();
    Ok(())
}

/// The records of a member that does not renew its leases go to another member, in order, and before the next record
/// of their key.
///
/// Fails for an engine that delivers them again in another order, or that never frees the key.
pub async fn the_keys_of_a_silent_member_move_in_order<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "orphaned");
    let as_member =
        |name| subscription(&topic, "handlers", name).with_lease(Duration::from_secs(3));
    let silent = join_as(&transport, as_member("silent")).await;
    let other = join_as(&transport, as_member("other")).await;
    append(&transport, &topic, (1..=3).map(|n| keyed(n, "key"))).await;
    let held = silent.take(2).await;
    assert_eq!(ids(&held), [1, 2]);
    for expected in 1..=3 {
        let next = other.take(1).await;
        assert_eq!(ids(&next), [expected], "the order of the key");
        other.acknowledge(&next).await;
    }
    Ok(())
}

/// The delivered records of sixteen keys.
#[derive(Default)]
struct Order(Mutex<HashMap<Arc<str>, Key>>);

struct Key {
    /// The last member that received a record, and the number of records that it holds.
    holder: Arc<str>,
    held: usize,
    /// The record that has to be delivered next.
    next: usize,
}

impl Order {
    fn delivered<R>(&self, member: &Arc<str>, deliveries: &[Delivery<R>]) {
        let mut keys = lock(&self.0);
        for delivery in deliveries {
            let now = id(&delivery.record);
            let name = delivery.record.key.clone().expect("each has a key");
            let key = keys.entry(name.clone()).or_insert_with(|| Key {
                holder: Arc::clone(member),
                held: 0,
                next: now % 16,
            });
            assert!(
                key.held == 0 || key.holder == *member,
                "{name}: {member} got record {now} while {} held {} records",
                key.holder,
                key.held
            );
            assert_eq!(now, key.next, "{name}: the next record");
            key.holder = Arc::clone(member);
            key.held += 1;
            key.next += 16;
        }
    }

    /// Called before the member acknowledges the records.
    fn settled<R>(&self, deliveries: &[Delivery<R>]) {
        self.change(deliveries, |key, _| key.held -= 1);
    }

    /// Called before the member releases the records.
    fn released<R>(&self, deliveries: &[Delivery<R>]) {
        self.change(deliveries, |key, id| {
            key.held -= 1;
            key.next = key.next.min(id);
        });
    }

    fn change<R>(&self, deliveries: &[Delivery<R>], change: impl Fn(&mut Key, usize)) {
        let mut keys = lock(&self.0);
        for delivery in deliveries {
            let name = delivery.record.key.as_ref().expect("each has a key");
            let key = keys.get_mut(name).expect("delivered before");
            change(key, id(&delivery.record));
        }
    }
}
