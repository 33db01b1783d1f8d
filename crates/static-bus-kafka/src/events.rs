//! The events of a member's client: assignments of partitions, the state of its membership, and its connections.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    types::RDKafkaRespErr,
};

use static_bus_remote::lock::lock;

/// The client of a member of a group.
pub(super) type Client = BaseConsumer<Events>;

/// The events that a client has reported and that its member has not processed.
#[derive(Default, Clone)]
pub(super) struct Events(Arc<Inbox>);

#[derive(Default)]
struct Inbox {
    changes: Mutex<VecDeque<Change>>,
    joining: Mutex<Option<(Instant, bool)>>,
    is_ending: Mutex<bool>,
    /// The time of the first report without a connection; `None` after one with a connection.
    disconnected: Mutex<Option<Instant>>,
}

/// A change of the assignment. The client waits until it is confirmed.
pub(super) enum Change {
    /// New partitions.
    Assign(Vec<i32>),
    /// Partitions to be given up.
    Revoke(Vec<i32>),
}

impl Events {
    /// The next change of the assignment.
    pub fn next_change(&self) -> Option<Change> {
        lock(&self.0.changes).pop_front()
    }

    /// Returns `true` if a revocation is waiting.
    pub fn has_revocation(&self) -> bool {
        let changes = lock(&self.0.changes);
        changes
            .iter()
            .any(|change| matches!(change, Change::Revoke(_)))
    }

    /// Returns `true` if the client may be joining the group, as far as it has reported since this time. A client
    /// that is joining cannot leave: the group would wait for it until its session times out.
    pub fn may_be_joining(&self, since: Instant) -> bool {
        lock(&self.0.joining).is_none_or(|(at, joining)| at < since || joining)
    }

    /// Returns `true` if the client has reported no connection to any server for this time.
    pub fn has_no_connection_for(&self, time: Duration) -> bool {
        lock(&self.0.disconnected).is_some_and(|since| since.elapsed() >= time)
    }

    /// Confirms all further changes at once, because the client is about to be dropped.
    pub fn end(&self) {
        *lock(&self.0.is_ending) = true;
    }
}

impl ClientContext for Events {
    fn stats_raw(&self, statistics: &[u8]) {
        let has = |text: &str| {
            let mut windows = statistics.windows(text.len());
            windows.any(|window| window == text.as_bytes())
        };
        let joining = ["wait-join", "wait-metadata", "wait-sync"]
            .iter()
            .any(|state| has(&format!("\"join_state\": \"{state}\"")));
        let now = Instant::now();
        *lock(&self.0.joining) = Some((now, joining));
        // The state of a server. That of the group has a space.
        let is_connected = has("\"state\":\"UP\"");
        let mut disconnected = lock(&self.0.disconnected);
        *disconnected = match is_connected {
            true => None,
            false => disconnected.or(Some(now)),
        };
    }
}

impl ConsumerContext for Events {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let is_assignment = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if *lock(&self.0.is_ending) {
            // The client is about to be dropped: an error has no consequence.
            let _ = match is_assignment {
                true => client.incremental_assign(list),
                false => client.incremental_unassign(list),
            };
            return;
        }
        let elements = list.elements();
        let numbers = elements.iter().map(|place| place.partition()).collect();
        lock(&self.0.changes).push_back(match is_assignment {
            true => Change::Assign(numbers),
            false => Change::Revoke(numbers),
        });
    }
}
