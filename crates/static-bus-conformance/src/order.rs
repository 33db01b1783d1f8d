//! Records of one key keep their order, whatever the number of members.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::support::{
    AT_ONCE, DEADLINE, Dice, Member, SILENCE, Tally, append, connect, drain, id, ids, join,
    join_all, join_as, keyed, leases, list, record, subscription, topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Consumer, Delivery, Kind};

/// Ten members, 16 keys, 1,000 records: each key is with one member at a time, and its records come in
/// the order in which they were appended.
///
/// A naive engine gives the next record to whoever asks.
pub async fn sixteen_keys_keep_their_order_over_ten_members<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "ordered");
    let tally = Arc::new(Tally::new(0..1_000));
    let order = Arc::new(Order::default());

    let mut members = JoinSet::new();
    for n in 0..10 {
        let member = join(&transport, &topic, "handlers", &format!("member {n}")).await;
        let (tally, order) = (Arc::clone(&tally), Arc::clone(&order));
        members.spawn(async move {
            let mut dice = Dice::new(n);
            while !tally.complete() {
                let got = member.receive(7, Duration::from_millis(250)).await;
                order.handed_out(&member.name, &got);
                tally.saw(&got);
                for one in &got {
                    tokio::time::sleep(Duration::from_micros(dice.below(2_000))).await;
                    order.settled(one);
                    member.acknowledge(std::slice::from_ref(one)).await;
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

/// A record that is given back is the next of its key, in whatever order several are given back. Where
/// partitions are shared, it comes to the member that gave it back.
///
/// A naive engine puts it at the end.
pub async fn a_record_that_is_given_back_comes_before_the_next_of_its_key<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "given back");
    let first = join(&transport, &topic, "handlers", "first").await;
    let second = join(&transport, &topic, "handlers", "second").await;
    let second = first.or(&second);

    append(&transport, &topic, [keyed(1, "key")]).await;
    let one = first.take(1).await;
    append(&transport, &topic, [keyed(2, "key"), keyed(3, "key")]).await;
    first.release(&leases(&one)).await;
    let all = second.take_within(3, AT_ONCE).await;
    assert_eq!(ids(&all), [1, 2, 3], "after the first was given back");

    append(&transport, &topic, [keyed(4, "key")]).await;
    let mixed = leases(&[all[2].clone(), all[0].clone(), all[1].clone()]);
    second.release(&mixed).await;
    for expected in 1..=4 {
        let next = first.take_within(1, AT_ONCE).await;
        assert_eq!(ids(&next), [expected], "after all were given back");
        first.acknowledge(&next).await;
    }
    Ok(())
}

/// A member that holds two records of a key keeps the key when it settles one of them, either way. Where
/// partitions are shared, it keeps it for as long as it stays.
///
/// A naive engine locks a key for a record and unlocks it with the first that ends.
pub async fn a_key_goes_to_another_member_only_when_all_of_it_is_settled<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    for give_back in [false, true] {
        let topic = topic(Kind::Command, format!("settled {give_back}"));
        let holder = join(&transport, &topic, "handlers", "holder").await;
        let other = join(&transport, &topic, "handlers", "other").await;
        append(&transport, &topic, (1..=3).map(|n| keyed(n, "key"))).await;
        let held = holder.take(2).await;
        assert_eq!(ids(&held), [1, 2]);
        other
            .nothing(SILENCE, "the holder has records of the key")
            .await;

        for one in &held {
            other
                .nothing(SILENCE, "the holder has one of them still")
                .await;
            if give_back {
                holder.release(&leases(std::slice::from_ref(one))).await;
            } else {
                holder.acknowledge(std::slice::from_ref(one)).await;
            }
        }
        if holder.sharing == Sharing::Partitions {
            holder.close().await;
        }
        let expected: &[usize] = if give_back { &[1, 2, 3] } else { &[3] };
        let got = other.take_within(expected.len(), AT_ONCE).await;
        assert_eq!(ids(&got), expected, "when the holder has settled all");
    }
    Ok(())
}

/// While a key is held, with hundreds of its records waiting, the records behind them go out: those
/// without a key, and of 32 other keys at least half. An engine that divides keys into partitions
/// may hold up those that share one with the held key; where members share partitions, any record may
/// be among them, and the others go to either member.
///
/// A naive engine stops at the first record that it may not hand out, or looks at the first few only.
pub async fn a_key_that_is_held_holds_up_no_other<H: Harness>(harness: &H) -> Outcome {
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

    if holder.sharing == Sharing::Partitions {
        return go_out(&holder, &held, other).await;
    }
    let mut got = other.take_within(17, AT_ONCE).await;
    let start = Instant::now();
    while !ids(&got).contains(&532) {
        assert!(start.elapsed() < AT_ONCE, "532 has no key, and is held up");
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

/// While record 0 is held, at least half of records 500 to 532 go out, to either member, and 1 to 499 to
/// none but the holder; and then the rest.
async fn go_out<C: Consumer>(
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

/// The records of a member that gives no sign of life go to another, in order, and before the next of
/// their key.
///
/// A naive engine brings back what was lost in any order, or keeps the key locked for ever.
pub async fn a_key_outlives_its_holder_in_order<H: Harness>(harness: &H) -> Outcome {
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

/// What is out, and with whom.
#[derive(Default)]
struct Order(Mutex<HashMap<Arc<str>, Key>>);

struct Key {
    holder: Arc<str>,
    held: usize,
    last: usize,
}

impl Order {
    fn handed_out<R>(&self, member: &Arc<str>, deliveries: &[Delivery<R>]) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in deliveries {
            let now = id(&delivery.record);
            let name = delivery.record.key.clone().expect("each has a key");
            let Some(key) = keys.get_mut(&name) else {
                assert!(now < 16, "{name} begins with record {now}");
                let (holder, held) = (Arc::clone(member), 1);
                keys.insert(
                    name,
                    Key {
                        holder,
                        held,
                        last: now,
                    },
                );
                continue;
            };
            assert!(
                key.held == 0 || key.holder == *member,
                "{name}: {member} got record {now} while {} held {}",
                key.holder,
                key.last
            );
            assert_eq!(now, key.last + 16, "{name}: the record after {}", key.last);
            key.holder = Arc::clone(member);
            key.held += 1;
            key.last = now;
        }
    }

    fn settled<R>(&self, delivery: &Delivery<R>) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = delivery.record.key.as_ref().expect("each has a key");
        keys.get_mut(name).expect("handed out").held -= 1;
    }
}
