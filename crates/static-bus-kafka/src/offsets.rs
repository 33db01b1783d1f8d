//! The first commit of a new group.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    clients::{blocking, retry_until},
    cluster::Cluster,
    events::Client,
};
use static_bus_remote::transport::TransportError;

/// The timeout of one request to the cluster.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets a group begin at the end of its topic, unless it has a position.
pub(super) async fn begin_at_end(
    cluster: &Cluster,
    client: &Arc<Client>,
    topic: &Arc<str>,
    partitions: i32,
) -> Result<(), TransportError> {
    let deadline = cluster.settings().deadline();
    let (client, topic) = (client.clone(), topic.clone());
    blocking(cluster.settings(), "starting a group", move || {
        retry_until(Instant::now() + deadline, || {
            let all = list(&topic, 0..partitions);
            let committed = client.committed_offsets(all, REQUEST_TIMEOUT)?;
            let places = committed.elements();
            places.iter().try_for_each(|place| place.error())?;
            let is_new = |offset| !matches!(offset, Offset::Offset(_));
            let new = places.iter().filter(|place| is_new(place.offset()));
            let new: Vec<i32> = new.map(|place| place.partition()).collect();
            if new.is_empty() {
                return Ok(());
            }
            let mut ends = list(&topic, new);
            ends.set_all_offsets(Offset::End)?;
            let ends = client.offsets_for_times(ends, REQUEST_TIMEOUT)?;
            ends.elements().iter().try_for_each(|place| place.error())?;
            match client.commit(&ends, CommitMode::Sync) {
                // One of the members of the group has made this commit.
                Err(error) if has_members(&error) => Ok(()),
                result => result,
            }
        })
    })
    .await
}

/// Partitions of a topic.
pub(super) fn list(topic: &str, numbers: impl IntoIterator<Item = i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for number in numbers {
        list.add_partition(topic, number);
    }
    list
}

/// Returns `true` if a commit was refused because the group has members.
fn has_members(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress)
    )
}
