//! What the client of a member tells of its group.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    types::RDKafkaRespErr,
};

use static_bus_remote::lock::lock;

/// What the client tells.
#[derive(Default)]
pub(in super::super) struct Events(Arc<Inbox>);

#[derive(Default)]
pub(super) struct Inbox {
    pub changes: Mutex<VecDeque<Change>>,
    /// When the client told last whether it is between groups: it does not leave one that it is about to
    /// join, which then waits for it until its session ends.
    pub joining: Mutex<Option<(Instant, bool)>>,
    /// The client is about to be dropped, and what it tells is done at once.
    pub ending: Mutex<bool>,
}

pub(super) enum Change {
    Assign(Vec<i32>),
    Revoke(Vec<i32>),
}

impl Events {
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        self.0.clone()
    }
}

impl Change {
    pub fn is_revoke(&self) -> bool {
        matches!(self, Change::Revoke(_))
    }
}

impl ClientContext for Events {
    fn stats_raw(&self, statistics: &[u8]) {
        let is = |state: &str| {
            let state = format!("\"join_state\": \"{state}\"");
            statistics
                .windows(state.len())
                .any(|w| w == state.as_bytes())
        };
        let joining = ["wait-join", "wait-metadata", "wait-sync"]
            .into_iter()
            .any(is);
        *lock(&self.0.joining) = Some((Instant::now(), joining));
    }
}

impl ConsumerContext for Events {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if *lock(&self.0.ending) {
            // Nobody is left to be told if this fails.
            let _ = match assigned {
                true => client.incremental_assign(list),
                false => client.incremental_unassign(list),
            };
            return;
        }
        let places = list.elements();
        let numbers = places.iter().map(|place| place.partition()).collect();
        lock(&self.0.changes).push_back(match assigned {
            true => Change::Assign(numbers),
            false => Change::Revoke(numbers),
        });
    }
}
