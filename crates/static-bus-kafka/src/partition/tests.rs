//! The progress of a group in one partition, without a cluster.

use std::time::Duration;

use super::*;

/// Reads these offsets, and returns those that are delivered.
fn take(partition: &mut Partition<i64>, offsets: Range<i64>) -> Vec<i64> {
    let until = Instant::now() + Duration::from_secs(1);
    let mut taken = Vec::new();
    for offset in offsets {
        if partition.advance(offset) {
            partition.deliver(offset, offset, 1_000 + offset, until);
            taken.push(offset);
        }
    }
    taken
}

#[test]
fn the_position_is_the_first_record_that_is_not_acknowledged() {
    let mut partition = Partition::new(7, "");
    assert_eq!(partition.commit(), (7, String::new()));
    assert_eq!(take(&mut partition, 7..10), [7, 8, 9]);
    assert_eq!(partition.commit(), (7, String::new()));
    assert!(partition.acknowledge(8));
    assert_eq!(partition.commit(), (7, "1BB".to_owned()));
    assert!(partition.acknowledge(7));
    assert_eq!(partition.commit(), (9, String::new()));
    assert!(!partition.acknowledge(7), "a second time");
    assert!(partition.acknowledge(9));
    assert_eq!(partition.commit(), (10, String::new()));
}

#[test]
fn the_example_of_the_drawing() {
    let mut partition = Partition::new(0, "");
    take(&mut partition, 0..7);
    for offset in [0, 1, 3, 4, 6] {
        partition.acknowledge(offset);
    }
    assert_eq!(partition.commit(), (2, "1BCBB".to_owned()));
}

#[test]
fn the_next_owner_skips_acknowledged_records() {
    let mut first = Partition::new(100, "");
    take(&mut first, 100..200);
    for offset in (100..200).filter(|offset| offset % 3 != 1) {
        first.acknowledge(offset);
    }
    let (position, metadata) = first.commit();
    let mut second = Partition::new(position, &metadata);
    // The second owner acknowledges nothing, and passes the metadata on to the third.
    assert_eq!(take(&mut second, position..130), offsets(100..130));
    let (position, metadata) = second.commit();
    let mut third = Partition::new(position, &metadata);
    let expected: Vec<_> = offsets(100..200).into_iter().chain([200, 201]).collect();
    assert_eq!(take(&mut third, position..202), expected);
}

fn offsets(of: Range<i64>) -> Vec<i64> {
    of.filter(|offset| offset % 3 == 1).collect()
}

#[test]
fn no_order_of_acknowledgements_and_releases_loses_a_record() {
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut partition = Partition::new(0, "");
        let mut open = BTreeSet::new();
        let mut end = 0;
        for _ in 0..dice.usize(1..6) {
            let more = dice.i64(0..60);
            let position = partition.commit().0;
            let taken = take(&mut partition, position..end + more);
            end += more;
            open.extend(taken);
            for offset in open.clone() {
                match dice.u8(0..3) {
                    0 => {
                        partition.acknowledge(offset);
                        open.remove(&offset);
                    }
                    1 => _ = partition.release(offset),
                    _ => {}
                }
            }
            let (position, metadata) = partition.commit();
            partition = Partition::new(position, &metadata);
            let unread = partition.unread((0, end));
            assert_eq!(
                unread.offsets,
                open.len() as u64,
                "of {open:?} with {metadata}"
            );
            let first = open.first().copied().unwrap_or(end);
            assert_eq!(unread.first, first, "of {open:?} with {metadata}");
        }
        let position = partition.commit().0;
        assert_eq!(take(&mut partition, position..end), Vec::from_iter(open));
    }
}

/// Takes records while there is room.
fn fill(partition: &mut Partition<i64>, end: i64) -> Vec<i64> {
    let mut taken = Vec::new();
    while partition.next < end && partition.has_room() {
        let next = partition.next;
        taken.extend(take(partition, next..next + 1));
    }
    taken
}

#[test]
fn all_acknowledged_records_fit_into_the_metadata() {
    let mut partition = Partition::new(0, "");
    let first = fill(&mut partition, 20_000);
    assert!(first.len() > 3_900, "{}", first.len());
    for offset in first.iter().skip(1).step_by(2) {
        partition.acknowledge(*offset);
    }
    assert!(!partition.has_room());
    let (position, metadata) = partition.commit();
    assert!(metadata.len() <= MAX_METADATA_BYTES, "{}", metadata.len());
    let mut next = Partition::new(position, &metadata);
    let open: Vec<_> = first.iter().copied().step_by(2).collect();
    let end = *first.last().unwrap() + 1;
    assert_eq!(fill(&mut next, end), open);
    // The position moves, and there is room again.
    for offset in &open[..100] {
        next.acknowledge(*offset);
    }
    assert!(fill(&mut next, 20_000).len() >= 190);
}

#[test]
fn no_order_of_acknowledgements_exceeds_the_metadata() {
    let mut dice = fastrand::Rng::with_seed(11);
    for round in 0..12 {
        let mut partition = Partition::new(0, "");
        let mut end = 0;
        for _ in 0..20 {
            // Some offsets have no record.
            while partition.has_room() && dice.u16(..) > 20 {
                let bits = dice.u8(0..=round % 12);
                end += 1 + dice.i64(0..1 << bits) / 2;
                take(&mut partition, end..end + 1);
            }
            let keep = dice.u8(1..10);
            for offset in partition.open.keys().copied().collect::<Vec<_>>() {
                if dice.u8(0..10) >= keep {
                    partition.acknowledge(offset);
                }
            }
            let open: Vec<_> = partition.open.keys().copied().collect();
            let (position, metadata) = partition.commit();
            assert!(metadata.len() <= MAX_METADATA_BYTES, "{}", metadata.len());
            let mut next = Partition::new(position, &metadata);
            let again = take(&mut next, position..partition.next);
            assert_eq!(again.len(), open.len(), "delivered again");
            if dice.bool() {
                partition = next;
            }
        }
    }
}

/// Metadata of a version without this bound.
#[test]
fn a_partition_with_more_open_records_than_fit_is_delivered() {
    let mut text = String::from(VERSION);
    for number in [9_000, 1] {
        push(&mut text, number);
    }
    let mut partition = Partition::new(0, &text);
    assert_eq!(fill(&mut partition, 20_000).len(), 9_000);
    for offset in 0..9_000 {
        partition.acknowledge(offset);
    }
    assert!(fill(&mut partition, 20_000).len() > 3_900);
}

#[test]
fn foreign_metadata_is_ignored() {
    for foreign in [
        "",
        "1",
        "1B",
        "1B\u{e9}",
        "2BB",
        "{\"host\":1}",
        "1________________",
    ] {
        let mut partition = Partition::new(5, foreign);
        assert_eq!(take(&mut partition, 5..8), [5, 6, 7], "{foreign}");
    }
}

#[test]
fn released_records_are_delivered_again_in_order() {
    let mut partition = Partition::new(0, "");
    take(&mut partition, 0..4);
    for offset in [2, 0, 1] {
        assert!(partition.release(offset));
    }
    assert!(!partition.release(2), "a second time");
    assert_eq!(partition.in_flight(), 1);
    assert!(partition.acknowledge(1), "after the release");
    let until = Instant::now() + Duration::from_secs(1);
    assert_eq!(partition.deliver_again(until), Some((0, 0)));
    assert_eq!(partition.deliver_again(until), Some((2, 2)));
    assert_eq!(partition.deliver_again(until), None);
    assert_eq!(partition.in_flight(), 3);
}

#[test]
fn a_lease_runs_out_unless_it_is_renewed_or_released() {
    let mut partition = Partition::new(0, "");
    take(&mut partition, 0..2);
    let later = Instant::now() + Duration::from_secs(5);
    assert!(!partition.has_expired_lease(Instant::now()));
    assert!(partition.has_expired_lease(later));
    partition.renew(0, later);
    assert!(
        partition.has_expired_lease(later),
        "the lease of the other record"
    );
    partition.release(1);
    assert!(!partition.has_expired_lease(later));
    assert_eq!(partition.oldest(), Some(1_000));
}
