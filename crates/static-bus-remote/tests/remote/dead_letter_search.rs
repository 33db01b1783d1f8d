//! Dead letters by position and by filter, and many of them at once.

use std::time::Duration;

use jiff::Timestamp;
use static_bus_remote::{
    DeadLetter, DeadLetterFilter, DeadLetters, Headers, MemoryBroker, Transport,
    TransportErrorKind,
    transport::{Consumer, Kind, Record, Subscription, Topic},
};

use crate::support::{Op, TestBroker};

const HOUR: Duration = Duration::from_secs(3600);

fn command(name: &str) -> Topic {
    Topic {
        kind: Kind::Command,
        name: name.to_owned().into(),
    }
}

/// A broker with dead letters of these origins, groups, errors and ages.
async fn with_letters(letters: &[(&str, &str, &str, Duration)]) -> MemoryBroker {
    let broker = MemoryBroker::new();
    let topic = Topic {
        kind: Kind::DeadLetter,
        name: "".into(),
    };
    let record = |(origin, group, error, age): &(&str, &str, &str, Duration)| Record {
        headers: Headers::from_iter([
            ("origin", *origin),
            ("group", group),
            ("error", error),
            ("lastfailure", &(Timestamp::now() - *age).to_string()),
        ]),
        body: error.to_string().into(),
        ..Record::default()
    };
    let records = letters.iter().map(|letter| (topic.clone(), record(letter)));
    for result in broker.append(records.collect()).await {
        result.unwrap();
    }
    broker
}

fn errors(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| &*letter.error).collect()
}

#[tokio::test]
async fn a_filter_matches_dead_letters_that_meet_all_of_its_conditions() {
    let broker = with_letters(&[
        (
            "command orders.place",
            "handlers",
            "a: Timeout of the bank",
            3 * HOUR,
        ),
        ("command orders.cancel", "handlers", "b: timeout", HOUR / 2),
        ("event orders.placed", "mail", "c: refused", HOUR / 2),
    ])
    .await;
    let dead = DeadLetters::of(broker);
    let all = DeadLetterFilter::default;
    for (filter, expected) in [
        (all(), "abc"),
        (all().message("orders.place"), "a"),
        (all().message("command orders.place"), "a"),
        (all().message("event orders.place"), ""),
        (all().message("place"), ""),
        (all().group("mail"), "c"),
        (all().error("TIMEOUT"), "ab"),
        (all().older_than(HOUR), "a"),
        (all().younger_than(HOUR), "bc"),
        (all().older_than(HOUR / 4).younger_than(HOUR), "bc"),
        (all().older_than(Duration::MAX), ""),
        (all().younger_than(Duration::MAX), "abc"),
        (
            all().error("timeout").younger_than(HOUR).group("handlers"),
            "b",
        ),
    ] {
        let found = dead.find(&filter, None, 10).await.unwrap();
        let found: String = found.iter().map(|letter| &letter.error[..1]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_read_matches_no_age() {
    let letter = ("command a", "handlers", "", Duration::ZERO);
    let dead = DeadLetters::of(with_letters(&[letter]).await);
    let mut letter = dead.list(None, 1).await.unwrap().remove(0);
    letter.last_failure = "yesterday".to_owned();
    assert!(DeadLetterFilter::default().matches(&letter));
    assert!(
        !DeadLetterFilter::default()
            .older_than(Duration::ZERO)
            .matches(&letter)
    );
    assert!(
        !DeadLetterFilter::default()
            .younger_than(Duration::MAX)
            .matches(&letter)
    );
}

#[tokio::test]
async fn a_search_goes_on_over_many_pages() {
    let numbers: Vec<_> = (0..2500).map(|n| n.to_string()).collect();
    let letters: Vec<_> = numbers
        .iter()
        .map(|n| {
            (
                "command a",
                if n.ends_with("99") { "odd" } else { "even" },
                &**n,
                HOUR,
            )
        })
        .collect();
    let dead = DeadLetters::of(with_letters(&letters).await);
    let odd = DeadLetterFilter::default().group("odd");
    let found = dead.find(&odd, None, 1000).await.unwrap();
    assert_eq!((found.len(), &*found[24].error), (25, "2499"));
    let rest = dead.find(&odd, Some(&found[19].position), 3).await.unwrap();
    assert_eq!(errors(&rest), ["2099", "2199", "2299"]);
    let all = DeadLetterFilter::default();
    assert_eq!(dead.find(&all, None, 1200).await.unwrap().len(), 1200);
    assert_eq!(dead.find(&all, None, usize::MAX).await.unwrap().len(), 2500);

    let last = &found[24];
    let got = dead.get(&last.position).await.unwrap().unwrap();
    assert_eq!(got.error, "2499");
    dead.discard(last).await.unwrap();
    assert!(dead.get(&last.position).await.unwrap().is_none());
}

#[tokio::test]
async fn many_dead_letters_are_replayed_at_once_and_each_has_a_result() {
    let broker = with_letters(&[
        ("command a", "handlers", "1", HOUR),
        ("nonsense", "handlers", "2", HOUR),
        ("command b", "handlers", "3", HOUR),
    ])
    .await;
    let dead = DeadLetters::of(broker.clone());
    let letters = dead.list(None, 10).await.unwrap();
    let results = dead.replay_all(&letters).await;
    let kinds: Vec<_> = results
        .iter()
        .map(|r| r.as_ref().err().map(|e| e.kind()))
        .collect();
    assert_eq!(kinds, [None, Some(TransportErrorKind::Refused), None]);
    assert_eq!(errors(&dead.list(None, 10).await.unwrap()), ["2"]);
    for (topic, body) in [("a", "1"), ("b", "3")] {
        let subscription = Subscription::new(command(topic), "handlers", "m");
        let consumer = broker.consume(subscription).await.unwrap();
        let replayed = consumer.receive(10, Duration::from_secs(60)).await.unwrap();
        assert_eq!(replayed[0].record.body, body);
    }
    assert_eq!(dead.replay_all(&letters[1..2]).await.len(), 1);
    dead.discard_all(&letters).await.unwrap();
    assert_eq!(dead.list(None, 10).await.unwrap().len(), 0);
}

/// 3,000 dead letters, of which each tenth is odd, behind a broker that counts what is read.
async fn counted() -> (TestBroker, DeadLetters<TestBroker>) {
    let numbers: Vec<_> = (0..3000).map(|n| n.to_string()).collect();
    let letter = |n: &'static str, text| ("command a", n, text, HOUR);
    let letters: Vec<_> = numbers
        .iter()
        .map(|n| letter(if n.ends_with('9') { "odd" } else { "even" }, &**n))
        .collect();
    let broker = TestBroker::around(with_letters(&letters).await);
    (broker.clone(), DeadLetters::of(broker))
}

#[tokio::test]
async fn a_search_reads_each_dead_letter_once() {
    let (broker, dead) = counted().await;
    for (group, expected) in [("odd", 300), ("even", 2700)] {
        let before = broker.items(Op::DeadLetters);
        let mut search = dead.search(DeadLetterFilter::default().group(group));
        let mut found = 0;
        while let Some(letters) = search.next().await.unwrap() {
            assert!((1..=1000).contains(&letters.len()));
            found += letters.len();
        }
        assert_eq!(found, expected);
        assert_eq!(broker.items(Op::DeadLetters) - before, 3000);
        assert!(search.next().await.unwrap().is_none());
    }
    assert_eq!(broker.calls(Op::DeadLetters), 2 * 4, "four pages each");
}

#[tokio::test]
async fn what_is_discarded_during_a_search_is_read_once() {
    let (broker, dead) = counted().await;
    let mut search = dead.search(DeadLetterFilter::default().group("odd"));
    while let Some(letters) = search.next().await.unwrap() {
        dead.discard_all(&letters).await.unwrap();
    }
    assert_eq!(broker.items(Op::DeadLetters), 3000);
    assert_eq!(dead.list(None, 3000).await.unwrap().len(), 2700);
}

#[tokio::test]
async fn a_search_has_a_beginning_and_an_end() {
    let (broker, dead) = counted().await;
    let all = dead.list(None, 3000).await.unwrap();
    let before = broker.items(Op::DeadLetters);
    let odd = DeadLetterFilter::default().group("odd");
    let (begin, end) = (&*all[19].position, &*all[59].position);
    let mut search = dead.search(odd).after(begin).until(end);
    let found = search.next().await.unwrap().unwrap();
    assert_eq!(errors(&found), ["29", "39", "49", "59"]);
    assert!(search.next().await.unwrap().is_none());
    assert_eq!(broker.items(Op::DeadLetters) - before, 1000, "one page");
}

#[tokio::test]
async fn dead_letters_at_many_positions_are_read_in_one_pass() {
    let (broker, dead) = counted().await;
    let all = dead.list(None, 3000).await.unwrap();
    dead.discard(&all[7]).await.unwrap();
    let mut positions: Vec<_> = all[..2000].iter().map(|l| l.position.clone()).collect();
    positions.reverse();
    positions.push(positions[0].clone());
    let before = broker.items(Op::DeadLetters);
    let found = dead.get_all(&positions).await.unwrap();
    assert_eq!(broker.items(Op::DeadLetters) - before, 2000);
    assert_eq!(found.len(), 2001);
    for (position, letter) in positions.iter().zip(&found) {
        match letter {
            Some(letter) => assert_eq!(letter.position, *position),
            None => assert_eq!(*position, all[7].position),
        }
    }
    let before = broker.items(Op::DeadLetters);
    assert!(dead.get(&all[7].position).await.unwrap().is_none());
    assert!(dead.get_all(&[""; 0]).await.unwrap().is_empty());
    assert_eq!(broker.items(Op::DeadLetters) - before, 1000);
}

#[tokio::test]
async fn what_is_found_costs_no_more_than_three_times_its_way() {
    let (broker, dead) = counted().await;
    for (group, limit, way) in [
        ("even", 100, 111),
        ("even", 700, 777),
        ("odd", 100, 1000),
        ("odd", 1, 10),
    ] {
        let before = broker.items(Op::DeadLetters);
        let filter = DeadLetterFilter::default().group(group);
        assert_eq!(dead.find(&filter, None, limit).await.unwrap().len(), limit);
        let read = broker.items(Op::DeadLetters) - before;
        assert!(read <= (3 * way).max(100), "{read} for {limit} {group}");
    }
    let before = broker.items(Op::DeadLetters);
    let all = DeadLetterFilter::default();
    assert_eq!(dead.find(&all, None, 1200).await.unwrap().len(), 1200);
    assert_eq!(broker.items(Op::DeadLetters) - before, 1200);
}
