//! Dead letters: listed in order and complete, until they are removed.

use super::payload::{assert_same, awkward_records};
use super::support::{append, connect, id, keyed, list, must, record, topic};
use super::{Harness, Outcome};
use static_bus_remote::transport::{DeadLetterRecord, Kind, Record, Transport};

/// Dead letters are listed in pages, the oldest first, each as it was appended, and a list removes none.
///
/// Fails for an engine that consumes dead letters, that keeps only the body, or that repeats the last one of a page.
pub async fn dead_letters_are_listed_in_order_and_complete<H: Harness>(harness: &H) -> Outcome {
    let (here, there) = (connect(harness).await, connect(harness).await);
    let dead = topic(Kind::DeadLetter, "");
    let none = must("dead letters", there.dead_letters(None, 10)).await;
    assert!(
        none.is_empty(),
        "a new broker has {} dead letters",
        none.len()
    );

    let letters: Vec<Record> = (0..25).map(|n| keyed(n, "key")).collect();
    append(&here, &dead, letters.clone()).await;
    for size in [10, 1, 100] {
        let pages = pages(&there, size).await;
        let came: Vec<_> = pages.iter().map(|letter| id(&letter.record)).collect();
        assert!(
            came.iter().copied().eq(0..25),
            "in pages of {size}, of 0 to 24 came {}",
            list(came)
        );
        for (letter, appended) in pages.iter().zip(&letters) {
            assert_same("a dead letter", appended, &letter.record);
        }
    }
    let awkward = awkward_records();
    let records: Vec<_> = awkward.iter().map(|(_, r)| r.clone()).collect();
    append(&here, &dead, records).await;
    let pages = pages(&there, 5).await;
    assert_eq!(pages.len(), 25 + awkward.len(), "all dead letters");
    for (letter, (what, appended)) in pages[25..].iter().zip(&awkward) {
        assert_same(what, appended, &letter.record);
    }
    Ok(())
}

/// Dead letters that are removed are not listed again on any connection, and the others keep their order. A second
/// removal is no error, and the position of a removed dead letter is still valid as the start of a page.
///
/// Fails for an engine that removes all up to a position, or whose positions are indices.
pub async fn a_removed_dead_letter_is_gone_and_no_other<H: Harness>(harness: &H) -> Outcome {
    let (here, there) = (connect(harness).await, connect(harness).await);
    append(&here, &topic(Kind::DeadLetter, ""), (0..10).map(record)).await;
    let all = pages(&here, 100).await;
    assert_eq!(all.len(), 10);
    let positions =
        |ids: &[usize]| -> Vec<String> { ids.iter().map(|n| all[*n].position.clone()).collect() };
    must("remove", here.remove_dead_letters(&positions(&[0, 4, 9]))).await;
    must(
        "remove again",
        here.remove_dead_letters(&positions(&[4, 5])),
    )
    .await;
    must("remove none", here.remove_dead_letters(&[])).await;
    let rest: Vec<_> = pages(&there, 3)
        .await
        .iter()
        .map(|l| id(&l.record))
        .collect();
    assert_eq!(rest, [1, 2, 3, 6, 7, 8], "0, 4, 5 and 9 are removed");
    let after = must("after", there.dead_letters(Some(&all[4].position), 2)).await;
    let after: Vec<_> = after.iter().map(|l| id(&l.record)).collect();
    assert_eq!(after, [6, 7], "after a removed one");
    Ok(())
}

async fn pages<T: Transport>(transport: &T, size: usize) -> Vec<DeadLetterRecord> {
    let mut all: Vec<DeadLetterRecord> = Vec::new();
    loop {
        let after = all.last().map(|letter| letter.position.as_str());
        let page = must("dead letters", transport.dead_letters(after, size)).await;
        assert!(page.len() <= size, "a page of {size} has {}", page.len());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
        assert!(all.len() < 1_000, "the list of pages does not end");
    }
}
