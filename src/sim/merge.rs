//! The merge of sorted streams, by a loser tree.
//!
//! Each node is a match between two streams: it stores the loser, and the winner advances to the
//! parent. After the overall winner's item is yielded, only the matches on its path to the root are
//! replayed. Stream `rank` of `k` is a leaf below node `(rank + k) / 2`; node 1 is the root.

use crate::time::Time;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::{error::Error, fmt, hint, iter::FusedIterator, mem};

/// A sorted stream of timed items, as input for [`merge`].
#[derive(Debug, Clone)]
pub struct Stream<I> {
    name: Cow<'static, str>,
    priority: u32,
    items: I,
}

impl<I: Iterator> Stream<I> {
    /// A stream of priority 0; the name is for error messages.
    pub fn new(name: impl Into<Cow<'static, str>>, items: impl IntoIterator<IntoIter = I>) -> Self {
        Stream {
            name: name.into(),
            priority: 0,
            items: items.into_iter(),
        }
    }

    /// Sets the priority. Of two items at the same time, the one whose stream has the smaller number comes
    /// first.
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }
}

/// Merges sorted streams into one, ordered by time, then the stream's priority, then its index among
/// `streams`; items of one stream keep their order.
///
/// The first `next` reads one item of each stream, and the merge stays one item ahead. An item costs
/// log₂ of the number of streams comparisons, and no allocation. If a stream panics, no item that was
/// read is lost, and the next call continues.
///
/// All streams have one type. To merge different sources, map their items to an enum and box the
/// iterators: `Box<dyn Iterator<Item = (Time, Input)>>`.
///
/// # Errors
///
/// If an item is earlier than the one before it in its stream, the iterator yields [`Unsorted`] instead
/// and then ends. The items yielded before it are in order.
///
/// ```
/// use static_bus::{sim::{Stream, merge}, time::Time};
///
/// let [one, two] = [1, 2].map(Time::from_secs);
/// let quotes = Stream::new("quotes", [(one, "q1"), (two, "q2")]);
/// let trades = Stream::new("trades", [(two, "t2"), (one, "t1")]);
/// let mut merged = merge([quotes.priority(1), trades]);
///
/// assert_eq!(merged.next(), Some(Ok((one, "q1"))));
/// assert_eq!(merged.next(), Some(Ok((two, "t2")))); // `trades` has the smaller priority
/// assert_eq!(
///     merged.next().unwrap().unwrap_err().to_string(),
///     "stream `trades` is not sorted: 1970-01-01T00:00:01Z comes after 1970-01-01T00:00:02Z; \
///      sort it by time before merging",
/// );
/// assert_eq!(merged.next(), None);
/// ```
pub fn merge<I, T>(streams: impl IntoIterator<Item = Stream<I>>) -> Merge<I, T>
where
    I: Iterator<Item = (Time, T)>,
{
    let mut streams: Vec<_> = streams.into_iter().enumerate().collect();
    streams.sort_by_key(|(_, stream)| stream.priority);
    let mut lanes = Vec::with_capacity(streams.len());
    let mut labels = Vec::with_capacity(streams.len());
    for (index, Stream { name, items, .. }) in streams {
        lanes.push(Lane { items, head: None });
        labels.push((name, index));
    }
    Merge {
        winner: Due::NEVER,
        losers: alloc::vec![Due::OPEN; lanes.len()],
        begun: 0,
        lanes,
        labels,
        unsorted: None,
    }
}

/// An iterator over merged streams; made by [`merge`].
///
/// It yields `Result<(Time, T), Unsorted>`.
#[derive(Debug, Clone)]
pub struct Merge<I, T> {
    winner: Due,
    losers: Vec<Due>,
    /// The number of lanes whose first item was read, by the first `next`. All, or a stream panicked.
    begun: usize,
    /// In order of priority, then index.
    lanes: Vec<Lane<I, T>>,
    /// The name of each lane, and its index among the arguments of `merge`.
    labels: Vec<(Cow<'static, str>, usize)>,
    unsorted: Option<Unsorted>,
}

impl<I, T> Iterator for Merge<I, T>
where
    I: Iterator<Item = (Time, T)>,
{
    type Item = Result<(Time, T), Unsorted>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Due { time, rank } = self.winner;
        let Some(lane) = self.lanes.get_mut(rank as usize) else {
            return self.next_without_winner();
        };
        let (head, due) = match lane.items.next() {
            Some((after, item)) if after >= time => (
                lane.head.replace(item),
                Due {
                    time: after,
                    ..self.winner
                },
            ),
            Some((after, _)) => {
                let head = lane.head.take();
                self.end_unsorted(rank as usize, time, after);
                return head.map(|item| Ok((time, item)));
            }
            None => (lane.head.take(), Due::NEVER),
        };
        self.replay(rank as usize, due);
        head.map(|item| Ok((time, item)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.begun == self.lanes.len() && self.winner.rank == Due::NEVER.rank {
            let rest = usize::from(self.unsorted.is_some());
            return (rest, Some(rest));
        }
        let heads = self.lanes.iter().filter(|lane| lane.head.is_some()).count();
        let mut lanes = self.lanes.iter().enumerate();
        let most = lanes.try_fold(heads, |sum, (rank, lane)| {
            let more = lane.head.is_some() || rank >= self.begun;
            sum.checked_add(if more { lane.items.size_hint().1? } else { 0 })
        });
        // An unsorted stream ends the merge early, after the head of its lane.
        (heads.min(1), most)
    }
}

impl<I, T> FusedIterator for Merge<I, T> where I: Iterator<Item = (Time, T)> {}

impl<I, T> Merge<I, T>
where
    I: Iterator<Item = (Time, T)>,
{
    #[cold]
    fn next_without_winner(&mut self) -> Option<Result<(Time, T), Unsorted>> {
        if self.begun == self.lanes.len() {
            return self.unsorted.take().map(Err);
        }
        while let Some(lane) = self.lanes.get_mut(self.begun) {
            let rank = self.begun;
            let due = match lane.items.next() {
                Some((time, item)) => {
                    lane.head = Some(item);
                    Due::new(time, rank)
                }
                None => Due::NEVER,
            };
            self.begun += 1;
            self.play_first(rank, due);
        }
        self.next()
    }
}

impl<I, T> Merge<I, T> {
    /// Plays the first matches of a lane, up to one whose other side is still open. The last lane gets to
    /// the root.
    fn play_first(&mut self, rank: usize, due: Due) {
        let mut winner = due;
        let mut node = (rank + self.lanes.len()) / 2;
        while node > 0 {
            let loser = &mut self.losers[node];
            if loser.is_open() {
                *loser = winner;
                return;
            }
            winner.play(loser);
            node /= 2;
        }
        self.winner = winner;
    }

    /// Replays the matches of a lane up to the root.
    #[inline]
    fn replay(&mut self, rank: usize, due: Due) {
        let mut winner = due;
        let mut node = (rank + self.lanes.len()) / 2;
        while node > 0 {
            winner.play(&mut self.losers[node]);
            node /= 2;
        }
        self.winner = winner;
    }

    /// Makes the error the last item of the merge.
    #[cold]
    fn end_unsorted(&mut self, rank: usize, before: Time, after: Time) {
        let (name, index) = &mut self.labels[rank];
        self.unsorted = Some(Unsorted {
            stream: mem::take(name),
            index: *index,
            before,
            after,
        });
        self.winner = Due::NEVER;
    }
}

/// A stream in a merge, aligned to cache lines. Every item passes through `head`, and a `head` across
/// two cache lines was measured to double the time of a merge.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Lane<I, T> {
    items: I,
    /// The next item to yield; its time is in the tree. `None` once the stream has ended.
    head: Option<T>,
}

/// The time at which the head of a lane is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    time: Time,
    /// The lane's position in `lanes`, which decides between equal times.
    rank: u64,
}

impl Due {
    /// A value that orders after the head of every lane.
    const NEVER: Due = Due {
        time: Time::MAX,
        rank: u64::MAX,
    };

    /// The place of a side that has not played yet.
    const OPEN: Due = Due {
        time: Time::MAX,
        rank: u64::MAX - 1,
    };

    fn new(time: Time, rank: usize) -> Self {
        Due {
            time,
            rank: rank as u64,
        }
    }

    fn is_open(self) -> bool {
        self.rank == Due::OPEN.rank
    }

    /// Keeps the earlier of the two in `self`, and leaves the later in `other`. Branch-free, because the
    /// outcome is unpredictable.
    #[inline]
    fn play(&mut self, other: &mut Due) {
        let (a, b) = (*self, *other);
        let swap = b.order() < a.order();
        *other = Due {
            time: hint::select_unpredictable(swap, a.time, b.time),
            rank: hint::select_unpredictable(swap, a.rank, b.rank),
        };
        self.time = hint::select_unpredictable(swap, b.time, a.time);
        self.rank = hint::select_unpredictable(swap, b.rank, a.rank);
    }

    /// Time and rank as one number, which is cheaper to compare than two fields.
    #[inline]
    fn order(self) -> i128 {
        i128::from(self.time.as_nanos()) << 64 | i128::from(self.rank)
    }
}

/// A stream whose items are not sorted by time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsorted {
    /// The stream's name.
    pub stream: Cow<'static, str>,
    /// Its position among the merged streams, from 0.
    pub index: usize,
    /// The time of an item.
    pub before: Time,
    /// The earlier time of the item that follows it in the stream.
    pub after: Time,
}

impl fmt::Display for Unsorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsorted {
            stream,
            before,
            after,
            ..
        } = self;
        write!(
            f,
            "stream `{stream}` is not sorted: {after} comes after {before}; sort it by time before merging"
        )
    }
}

impl Error for Unsorted {}
