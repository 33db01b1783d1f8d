//! What simulated time promises about allocation. The counting allocator is that of this whole test
//! program, and counts for each thread.

use allocation_counter::measure;
use static_bus::sim::{Stream, merge};
use std::hint::black_box;

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_merge_allocates_nothing_per_item() {
    let streams = (0..8).map(|i| Stream::new("s", (0..10_000).map(move |n| (n * (i + 1), n))));
    let mut merged = merge(streams);
    let mut items = 0;
    let allocations = measure(|| items = merged.by_ref().map(Result::unwrap).count());
    assert_eq!(items, 80_000);
    assert_eq!(allocations.count_total, 0);
}
