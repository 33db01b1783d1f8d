//! The samples of the last time, in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use static_bus_remote::{
    DeadLetterFilter, DeadLetters, TransportError,
    transport::{Inspect, Kind, Topic},
};

use crate::{
    args::Selection,
    sample::{Rates, Sample, Sampler},
};

/// The number of samples that are kept.
pub const KEPT: usize = 360;
/// The greatest number of dead letters that are counted.
pub const COUNTED: usize = 1000;
/// The shortest time between two counts of many dead letters.
const RECOUNT: Duration = Duration::from_secs(30);

/// The key of a group: the topic, and the name of the group; `None` for a topic without groups.
pub type GroupKey = (Topic, Option<String>);

/// The figures of the last samples.
#[derive(Default)]
pub struct History {
    /// The last sample that succeeded.
    pub last: Option<Taken>,
    /// The error of the last sample, if it failed.
    pub error: Option<TransportError>,
    groups: BTreeMap<GroupKey, VecDeque<Point>>,
}

/// A sample with what is derived from it.
pub struct Taken {
    pub sample: Arc<Sample>,
    /// The sample before.
    pub before: Option<Arc<Sample>>,
    pub rates: BTreeMap<GroupKey, Rates>,
    /// The number of dead letters, up to [`COUNTED`].
    pub dead_letters: usize,
}

/// The figures of a group at a time.
#[derive(Clone, Copy, Default)]
pub struct Point {
    pub backlog: f64,
    pub rates: Rates,
}

/// Takes samples, each compared with the one before.
pub struct Samples {
    sampler: Sampler,
    before: Option<Arc<Sample>>,
    count: Option<Count>,
}

/// A count of the dead letters.
struct Count {
    /// The state of the topic at the count.
    of: (u64, Option<u64>),
    at: Instant,
    number: usize,
}

impl Samples {
    pub fn new() -> Self {
        Samples {
            sampler: Sampler::new(Selection::default()),
            before: None,
            count: None,
        }
    }

    pub async fn take<T: Inspect>(&mut self, broker: &T) -> Result<Taken, TransportError> {
        let sample = Arc::new(self.sampler.sample(broker).await?);
        let mut rates = BTreeMap::new();
        for topic in &sample.topics {
            let groups = topic.groups.iter().map(|group| Some(group.group.clone()));
            for group in groups.chain([None]) {
                let before = self.before.as_ref();
                let rate = before.map(|before| sample.rates(before, topic, group.as_deref()));
                rates.insert((topic.topic.clone(), group), rate.unwrap_or_default());
            }
        }
        let dead_letters = self.count(broker, &sample).await?;
        let before = self.before.replace(sample.clone());
        Ok(Taken {
            sample,
            before,
            rates,
            dead_letters,
        })
    }

    /// The number of dead letters. They are counted again only when there was a change, and many of them rarely:
    /// on Kafka a count reads all of them.
    async fn count<T: Inspect>(
        &mut self,
        broker: &T,
        sample: &Sample,
    ) -> Result<usize, TransportError> {
        let mut topics = sample.topics.iter();
        let Some(topic) = topics.find(|topic| topic.topic.kind == Kind::DeadLetter) else {
            return Ok(0);
        };
        let of = (topic.stored, topic.appended);
        if let Some(count) = &self.count {
            let is_recent = count.at.elapsed() < RECOUNT;
            if count.of == of || is_recent && topic.stored > COUNTED as u64 {
                return Ok(count.number);
            }
        }
        let letters = DeadLetters::of(broker.clone());
        let all = DeadLetterFilter::default();
        let number = letters.find(&all, None, COUNTED).await?.len();
        let at = Instant::now();
        self.count = Some(Count { of, at, number });
        Ok(number)
    }
}

impl History {
    /// Adds a sample, or the failure of one.
    pub fn add(&mut self, taken: Result<Taken, TransportError>) {
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.error = Some(error);
                return;
            }
        };
        self.error = None;
        self.groups.retain(|key, _| taken.rates.contains_key(key));
        for topic in &taken.sample.topics {
            let backlog = |group: &static_bus_remote::transport::GroupState| {
                (group.backlog.pending + group.backlog.lag) as f64
            };
            let groups = topic.groups.iter();
            let groups = groups.map(|group| (Some(group.group.clone()), backlog(group)));
            for (group, backlog) in groups.chain([(None, topic.stored as f64)]) {
                let key = (topic.topic.clone(), group);
                let rates = taken.rates.get(&key).copied().unwrap_or_default();
                let points = self.groups.entry(key).or_default();
                if points.len() == KEPT {
                    points.pop_front();
                }
                points.push_back(Point { backlog, rates });
            }
        }
        self.last = Some(taken);
    }

    /// The number of samples that are kept.
    pub fn length(&self) -> usize {
        let lengths = self.groups.values().map(VecDeque::len);
        lengths.max().unwrap_or(0)
    }

    /// The figures of a group, the oldest first.
    pub fn points(&self, key: &GroupKey) -> impl ExactSizeIterator<Item = Point> + Clone + '_ {
        static NONE: VecDeque<Point> = VecDeque::new();
        self.groups.get(key).unwrap_or(&NONE).iter().copied()
    }
}
