//! The first commit of a new group.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
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

/// Lets a group begin at the end of its topic, unless it has begun. A group that has a position in any partition has
/// begun: it reads partitions without a position, which were added later, from their start.
pub(super) async fn begin_at_end(
    cluster: &Cluster,
    client: &Arc<Client>,
    topic: &Arc<str>,
) -> Result<(), TransportError> {
    let deadline = cluster.settings().deadline();
    let (client, topic) = (client.clone(), topic.clone());
    blocking(cluster.settings(), "starting a group", move || {
        retry_until(Instant::now() + deadline, || {
            let all = all(&client, &topic)?;
            // Read before the positions. If two members begin at the same time, the second commit replaces the first
            // one, and its ends are from before the first one: no record is skipped that was appended after it.
            let mut ends = all.clone();
            ends.set_all_offsets(Offset::End)?;
            let ends = client.offsets_for_times(ends, REQUEST_TIMEOUT)?;
            let committed = client.committed_offsets(all, REQUEST_TIMEOUT)?;
            let (ends_of, places) = (ends.elements(), committed.elements());
            let mut both = ends_of.iter().chain(&places);
            both.try_for_each(|place| place.error())?;
            let is_position = |offset| matches!(offset, Offset::Offset(_));
            if places.iter().any(|place| is_position(place.offset())) {
                return Ok(());
            }
            match client.commit(&ends, CommitMode::Sync) {
                // One of the members of the group has made this commit.
                Err(error) if has_members(&error) => Ok(()),
                result => result,
            }
        })
    })
    .await
}

/// All partitions that a topic has now.
pub(super) fn all<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
) -> KafkaResult<TopicPartitionList> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = found.map_or(&[][..], |found| found.partitions());
    if partitions.is_empty() {
        return Err(KafkaError::MetadataFetch(Code::UnknownTopicOrPartition));
    }
    Ok(list(
        topic,
        partitions.iter().map(|partition| partition.id()),
    ))
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
