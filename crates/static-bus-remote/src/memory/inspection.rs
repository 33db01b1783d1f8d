//! The state of topics and groups, for operators.

use std::collections::BTreeSet;

use tokio::task::coop::consume_budget;

use super::MemoryBroker;
use crate::{
    DEAD_LETTERS,
    lock::lock,
    transport::{Inspect, Kind, Topic, TopicState, TransportError},
};

/// An event has a topic from its first group, or the first that is scheduled, on, a query from its first receiver on.
impl Inspect for MemoryBroker {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        consume_budget().await;
        let mut topics: BTreeSet<_> = lock(&self.0.logs).keys().cloned().collect();
        let queues = lock(&self.0.queues);
        let queries = queues.keys().filter(|topic| topic.kind == Kind::Query);
        topics.extend(queries.cloned());
        topics.extend((lock(&self.0.dead).appended > 0).then_some(DEAD_LETTERS));
        Ok(topics.into_iter().collect())
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        consume_budget().await;
        let states = topics.iter().filter_map(|topic| self.state(topic));
        Ok(states.collect())
    }
}

impl MemoryBroker {
    /// The state of a topic; `None` if it does not exist.
    fn state(&self, topic: &Topic) -> Option<TopicState> {
        let mut state = TopicState::new(topic.clone());
        match topic.kind {
            Kind::Command | Kind::Event => return Some(self.log(topic)?.inspect(topic.clone())),
            Kind::Query => state.stored = lock(&self.0.queues).get(topic)?.len() as u64,
            Kind::DeadLetter => {
                let dead = lock(&self.0.dead);
                state.stored = dead.records.len() as u64;
                state.appended = Some(dead.appended).filter(|appended| *appended > 0);
                state.appended?;
            }
            Kind::Reply => return None,
        }
        Some(state)
    }
}
