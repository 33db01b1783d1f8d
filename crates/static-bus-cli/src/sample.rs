//! Samples of the state of a broker, and the rates between two of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use static_bus_remote::{
    TransportError,
    transport::{Inspect, Topic, TopicState},
};

use super::{args::Selection, inspection};

/// The time after which the list of topics is read again.
const LIST: Duration = Duration::from_secs(30);

/// The states of topics at a time.
pub struct Sample {
    at: Instant,
    pub time: Timestamp,
    pub topics: Vec<TopicState>,
}

/// Takes samples of the selected topics.
pub struct Sampler {
    selection: Selection,
    /// The topics, and the time at which they were listed.
    topics: Option<(Vec<Topic>, Instant)>,
}

/// The records of a group for each second.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Rates {
    /// Those that were sent; `None` if it is unknown.
    pub arriving: Option<f64>,
    /// Those that were settled; `None` if it is unknown.
    pub handled: Option<f64>,
}

impl Sampler {
    pub fn new(selection: Selection) -> Self {
        Sampler {
            selection,
            topics: None,
        }
    }

    /// Takes a sample.
    pub async fn sample<T: Inspect>(&mut self, broker: &T) -> Result<Sample, TransportError> {
        let now = Instant::now();
        let topics = match &self.topics {
            Some((topics, listed)) if now.duration_since(*listed) < LIST => topics,
            _ => {
                let topics = inspection::selected(broker, &self.selection).await?;
                &self.topics.insert((topics, now)).0
            }
        };
        let topics = broker.inspect(topics).await?;
        Ok(Sample {
            at: now,
            time: Timestamp::now(),
            topics,
        })
    }
}

impl Sample {
    /// The state of a topic.
    pub fn topic(&self, topic: &Topic) -> Option<&TopicState> {
        self.topics.iter().find(|state| state.topic == *topic)
    }

    /// The rates of a group since an earlier sample. `None` as the group stands for a topic without groups.
    pub fn rates(&self, before: &Sample, topic: &TopicState, group: Option<&str>) -> Rates {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        let then = before.topic(&topic.topic);
        let Some(then) = then.filter(|_| seconds > 0.0) else {
            return Rates::default();
        };
        let (Some(appended), Some(earlier)) = (topic.appended, then.appended) else {
            return Rates::default();
        };
        // The broker has lost its data and counts from the beginning.
        let Some(arrived) = appended.checked_sub(earlier) else {
            return Rates::default();
        };
        let backlog = |topic: &TopicState| {
            let group = topic.groups.iter().find(|g| Some(&*g.group) == group)?;
            let backlog = group.backlog;
            group.lag_is_exact.then_some(backlog.pending + backlog.lag)
        };
        let handled = backlog(topic).zip(backlog(then));
        let handled = handled.map(|(now, before)| (before + arrived).saturating_sub(now));
        let rate = |number: u64| number as f64 / seconds;
        Rates {
            arriving: Some(rate(arrived)),
            handled: handled.map(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use static_bus_remote::transport::{Backlog, GroupState, Kind};

    use super::*;

    fn sample(at: Instant, appended: u64, lag: u64) -> Sample {
        let mut topic = TopicState::new(Topic {
            kind: Kind::Command,
            name: "a".into(),
        });
        topic.appended = Some(appended);
        let mut group = GroupState::new("handlers");
        group.backlog = Backlog {
            pending: 1,
            lag,
            ..Backlog::default()
        };
        topic.groups.push(group);
        Sample {
            at,
            time: Timestamp::UNIX_EPOCH,
            topics: vec![topic],
        }
    }

    #[test]
    fn rates_are_those_between_two_samples() {
        let begin = Instant::now();
        let before = sample(begin, 100, 20);
        let after = |appended, lag| sample(begin + Duration::from_secs(2), appended, lag);
        let rates = |now: &Sample, before: &Sample| {
            let rates = now.rates(before, &now.topics[0], Some("handlers"));
            (rates.arriving, rates.handled)
        };
        assert_eq!(rates(&after(110, 10), &before), (Some(5.0), Some(10.0)));
        assert_eq!(rates(&after(110, 30), &before), (Some(5.0), Some(0.0)));
        // The server has lost its data.
        assert_eq!(rates(&after(5, 5), &before), (None, None));
        assert_eq!(rates(&before, &before), (None, None));
        let mut unknown = after(110, 10);
        unknown.topics[0].groups[0].lag_is_exact = false;
        assert_eq!(rates(&unknown, &before), (Some(5.0), None));
        let mut new = sample(begin, 100, 20);
        new.topics.clear();
        assert_eq!(rates(&after(110, 10), &new), (None, None));
    }
}
