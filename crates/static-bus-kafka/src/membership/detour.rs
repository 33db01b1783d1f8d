//! The reading of partitions during a long revocation.
//!
//! From a revocation until its confirmation, the client of a member fetches nothing, and it confirms all revoked
//! partitions at once. So a record whose handler runs on would hold up all partitions of the member. After a while a
//! second client fetches the other ones for it: those that it keeps, and those of the revoked ones without a leased
//! record, which nobody else may read before the confirmation.

use std::{sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _};

use super::Membership;
use crate::{assignment::Progress, clients, events::Client};
use static_bus_remote::transport::TransportError;

/// The client that reads during a revocation.
pub(super) struct Detour {
    /// `None` when it ends.
    client: Option<Arc<Client>>,
    /// The revoked partitions with leased records. They are not read.
    pub held: Vec<i32>,
}

impl Detour {
    /// Begins to read all partitions but those that are held.
    pub fn begin<P: Progress>(
        membership: &Arc<Membership<P>>,
        held: Vec<i32>,
    ) -> Result<Self, TransportError> {
        let (cluster, topic) = (&membership.cluster, &membership.topic);
        let client = super::client(cluster, &membership.config)?;
        let mut assignment = membership.assignment();
        let mut places = TopicPartitionList::new();
        let mut queues = Vec::new();
        for number in assignment.numbers() {
            if !held.contains(&number)
                && let Some(offset) = assignment.next_fetched(number)
                && let Some(queue) = membership.queue(&client, number)
            {
                // An offset of Kafka is valid.
                _ = places.add_partition_offset(topic, number, Offset::Offset(offset));
                queues.push((number, queue));
            }
        }
        // After its queues exist: no message goes elsewhere.
        client
            .assign(&places)
            .map_err(|error| cluster.error("receiving", &error))?;
        for (number, queue) in queues {
            assignment.begin_detour(number, queue);
        }
        drop(assignment);
        Ok(Detour {
            client: Some(client),
            held,
        })
    }

    /// Processes the events of the client. Returns `true` if a message came beside the queues: records may be out of
    /// order.
    pub fn has_stray_message(&self) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        let mut events = std::iter::from_fn(|| client.poll(Duration::ZERO));
        // After an error it fetches again.
        events.any(|event| event.is_ok())
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        clients::end(self.client.take());
    }
}
