use crate::at;
use proptest::{collection::vec, prelude::*};
use static_bus::sim::{Stream, Unsorted, merge};
use static_bus::time::Time;
use std::time::Duration;

/// Times on both sides of the epoch, with many ties.
fn times(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Time>> {
    vec((-10..10i64).prop_map(at), length)
}

type Items = Vec<(Time, usize)>;

fn stream(name: &'static str, items: Items) -> Stream<std::vec::IntoIter<(Time, usize)>> {
    Stream::new(name, items)
}

fn merged(streams: Vec<Stream<std::vec::IntoIter<(Time, usize)>>>) -> Items {
    merge(streams).map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn a_merge_is_a_stable_sort_by_time_priority_and_index(
        streams in vec((0..3u32, times(0..12)), 0..20),
    ) {
        let mut number = 0..;
        let streams: Vec<(u32, Items)> = streams
            .into_iter()
            .map(|(priority, mut times)| {
                times.sort();
                (priority, times.into_iter().zip(&mut number).collect())
            })
            .collect();

        // In the order of the streams; the sort is stable, so index and sequence are not needed.
        let mut expected: Vec<_> = streams
            .iter()
            .flat_map(|(priority, items)| items.iter().map(move |item| (*priority, *item)))
            .collect();
        expected.sort_by_key(|(priority, (time, _))| (*time, *priority));

        let merge = merge(
            streams.into_iter().map(|(priority, items)| stream("s", items).priority(priority)),
        );
        prop_assert!(merge.size_hint().0 <= expected.len());
        prop_assert_eq!(merge.size_hint().1, Some(expected.len()));
        prop_assert!(merge.map(Result::unwrap).eq(expected.into_iter().map(|(_, item)| item)));
    }

    #[test]
    fn an_unsorted_stream_is_named_after_every_item_that_was_in_order(
        good in times(1..12),
        bad_at in 1..12usize,
        others in vec(times(0..12), 1..5),
    ) {
        let mut bad = good.clone();
        bad.sort();
        let at = bad_at.min(bad.len());
        let nano = Duration::from_nanos(1);
        let before = bad[at - 1] + nano;
        bad[at - 1] = before;
        bad.insert(at, before - nano);
        bad[at + 1..].fill(Time::MAX);

        let mut streams: Vec<Vec<Time>> = others;
        streams.iter_mut().for_each(|times| times.sort());
        let index = streams.len();
        streams.push(bad.clone());
        let numbered = |times: &[Time]| times.iter().copied().zip(0..).collect::<Items>();
        let results: Vec<_> = merge(streams.iter().enumerate().map(|(i, times)| {
            stream(if i == index { "bad" } else { "good" }, numbered(times))
        }))
        .collect();

        let (last, yielded) = results.split_last().unwrap();
        let error = last.as_ref().unwrap_err();
        prop_assert_eq!(
            (&*error.stream, error.index, error.before, error.after),
            ("bad", index, before, before - nano)
        );

        // The items before the error are a merge of the streams, with the bad one truncated.
        streams[index].truncate(at);
        let whole = merged(streams.iter().map(|times| stream("s", numbered(times))).collect());
        let yielded: Vec<_> = yielded.iter().map(|item| item.clone().unwrap()).collect();
        prop_assert_eq!(&yielded[..], &whole[..yielded.len()]);
        prop_assert_eq!(yielded.last().unwrap().0, before);
    }
}

#[test]
fn an_unsorted_stream_is_an_error_that_names_the_stream_and_the_two_times() {
    let mut merge = merge([
        stream("quotes", vec![(at(-1), 0), (at(9), 1)]),
        stream("trades", vec![(at(3), 0), (at(2), 1), (at(4), 2)]),
    ]);
    assert_eq!(merge.next(), Some(Ok((at(-1), 0))));
    assert_eq!(merge.next(), Some(Ok((at(3), 0))));
    assert_eq!(merge.size_hint(), (1, Some(1)));
    let error: Unsorted = merge.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `trades` is not sorted: 1970-01-01T00:00:00.000000002Z comes after \
         1970-01-01T00:00:00.000000003Z; sort it by time before merging"
    );
    assert_eq!(error.index, 1);
    assert_eq!(merge.size_hint(), (0, Some(0)));
    assert_eq!(merge.next(), None);
    assert_eq!(merge.next(), None);
}

#[test]
fn the_first_and_the_last_time_there_are_can_be_merged() {
    let (first, last) = (Time::MIN, Time::MAX);
    let streams = vec![
        stream("ends early", vec![(first, 0)]),
        stream("b", vec![(last, 1), (last, 2)]),
        stream("never begins", vec![]),
        stream("a", vec![(last, 3)]),
    ];
    assert_eq!(
        merged(streams),
        [(first, 0), (last, 1), (last, 2), (last, 3)]
    );
}

#[test]
fn nothing_to_merge_is_an_empty_stream() {
    assert_eq!(merged(vec![]), []);
    assert_eq!(merged(vec![stream("a", vec![]), stream("b", vec![])]), []);
}

#[test]
fn a_stream_is_not_asked_again_once_it_has_ended() {
    let mut asked_after_the_end = 0;
    let mut left = [5, 6].into_iter().map(|time| (at(time), ()));
    let mut ended = false;
    let grumpy = std::iter::from_fn(|| {
        asked_after_the_end += u32::from(ended);
        let next = left.next();
        ended = next.is_none();
        next
    });
    assert_eq!(
        merge([Stream::new("grumpy", grumpy)])
            .fuse()
            .by_ref()
            .take(9)
            .count(),
        2
    );
    assert_eq!(asked_after_the_end, 0);
}
