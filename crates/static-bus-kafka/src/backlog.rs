//! The backlog of a group: from the member for its own partitions, from committed offsets for all others.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
};

use super::{
    clients::{blocking, retry_until},
    cluster::Cluster,
    events::Client,
    offsets::{REQUEST_TIMEOUT, all},
    partition::{Partition, Unread},
};
use static_bus_remote::{
    time::now_millis,
    transport::{Backlog, TransportError},
};

/// The timeout of one poll.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// The operation in errors.
const DOING: &str = "reading the backlog";

/// The first offset and the end of each partition of a topic.
pub(super) type Bounds = BTreeMap<i32, (i64, i64)>;

/// The offsets of a group and its topic.
pub(super) struct GroupOffsets {
    topic: Arc<str>,
    bounds: Bounds,
    /// The committed offset and metadata of each partition that has one.
    committed: BTreeMap<i32, (i64, String)>,
}

/// The backlog of the partitions that are assigned to this member.
#[derive(Default)]
pub(super) struct OwnBacklog {
    in_flight: u64,
    /// The number of records that are known not to be acknowledged.
    unsettled: u64,
    /// The time of the append of the oldest one of them.
    oldest: Option<i64>,
    /// The offsets of each partition that are not among them: the client has fetched no record of these so far.
    pub unread: BTreeMap<i32, Unread>,
}

impl OwnBacklog {
    /// Adds a partition. `ahead` is the time of the append of the first unread record if the client has fetched one.
    pub fn add<R: Clone>(
        &mut self,
        number: i32,
        partition: &Partition<R>,
        bounds: (i64, i64),
        ahead: Option<i64>,
    ) {
        let mut unread = partition.unread(bounds);
        self.in_flight += partition.in_flight() as u64;
        self.unsettled += partition.open();
        if ahead.is_some() {
            self.unsettled += std::mem::take(&mut unread.offsets);
        }
        self.unread.insert(number, unread);
        let oldest = partition.oldest().or(ahead);
        self.oldest = self.oldest.into_iter().chain(oldest).min();
    }

    /// The backlog of the group, with the records that wait.
    pub fn of_group(self, waiting: &BTreeMap<i32, Waiting>) -> Backlog {
        let records = waiting.values().map(|waiting| waiting.records);
        let unsettled = self.unsettled + records.sum::<u64>();
        let first = waiting.values().filter_map(|waiting| waiting.appended);
        let oldest = self.oldest.into_iter().chain(first).min();
        Backlog {
            pending: self.in_flight,
            lag: unsettled.saturating_sub(self.in_flight),
            oldest: oldest.map_or(Duration::ZERO, age),
        }
    }
}

impl GroupOffsets {
    /// Reads the offsets from the cluster.
    pub async fn read(
        cluster: &Cluster,
        client: Arc<Client>,
        topic: &Arc<str>,
    ) -> Result<Self, TransportError> {
        let deadline = cluster.settings().deadline();
        let topic = topic.clone();
        blocking(cluster.settings(), DOING, move || {
            retry_until(Instant::now() + deadline, || {
                let all = all(&client, &topic)?;
                let committed = client.committed_offsets(all.clone(), REQUEST_TIMEOUT)?;
                // Read after the positions, which are never beyond the ends then.
                let bounds = self::bounds(&client, all)?;
                let committed = committed.elements();
                let committed = committed.iter().filter_map(|place| match place.offset() {
                    Offset::Offset(at) => {
                        Some((place.partition(), (at, place.metadata().to_owned())))
                    }
                    _ => None,
                });
                Ok(GroupOffsets {
                    topic: topic.clone(),
                    bounds,
                    committed: committed.collect(),
                })
            })
        })
        .await
    }

    /// The first offset and the end of a partition.
    pub fn bounds(&self, number: i32) -> Option<(i64, i64)> {
        self.bounds.get(&number).copied()
    }

    /// The partitions with records that are not acknowledged: as far as a member knows, and else as far as the
    /// committed offsets tell.
    pub async fn waiting(
        &self,
        cluster: &Cluster,
        known: &BTreeMap<i32, Unread>,
    ) -> Result<BTreeMap<i32, Waiting>, TransportError> {
        let mut waiting = BTreeMap::new();
        for (number, bounds) in &self.bounds {
            let committed = || match self.committed.get(number) {
                Some((at, metadata)) => Partition::<()>::new(*at, metadata),
                None => Partition::new(bounds.0, ""),
            };
            let known = known.get(number).copied();
            let unread = known.unwrap_or_else(|| committed().unread(*bounds));
            if unread.offsets > 0 {
                let state = Waiting {
                    first: unread.first,
                    records: unread.offsets,
                    appended: None,
                };
                waiting.insert(*number, state);
            }
        }
        if !waiting.is_empty() {
            let places = waiting.iter().map(|(number, state)| (*number, state.first));
            let times = append_times(cluster, self.topic.clone(), places.collect()).await?;
            waiting.retain(|number, _| times.get(number) != Some(&None));
            for (number, state) in &mut waiting {
                state.appended = times.get(number).copied().flatten();
            }
        }
        Ok(waiting)
    }
}

/// Reads the bounds of a topic. The client needs no group.
pub(super) async fn topic_bounds(
    cluster: &Cluster,
    client: Arc<Client>,
    topic: &Arc<str>,
) -> Result<Bounds, TransportError> {
    let deadline = cluster.settings().deadline();
    let topic = topic.clone();
    blocking(cluster.settings(), DOING, move || {
        retry_until(Instant::now() + deadline, || {
            bounds(&client, all(&client, &topic)?)
        })
    })
    .await
}

fn bounds(client: &Client, all: TopicPartitionList) -> KafkaResult<Bounds> {
    let [begins, ends] = [Offset::Beginning, Offset::End].map(|offset| {
        let mut places = all.clone();
        places.set_all_offsets(offset)?;
        offsets(&client.offsets_for_times(places, REQUEST_TIMEOUT)?)
    });
    let (begins, ends) = (begins?, ends?);
    let bounds = begins.into_iter().map(|(number, begin)| {
        let end = ends.get(&number).copied().unwrap_or(begin);
        (number, (begin, end.max(begin)))
    });
    Ok(bounds.collect())
}

/// The records of a partition that a group has not acknowledged.
pub(super) struct Waiting {
    /// The offset of the first one.
    pub first: i64,
    pub records: u64,
    /// The time of the append of the first one in milliseconds since the Unix epoch, if it was read in time.
    pub appended: Option<i64>,
}

/// The time since an append.
pub(super) fn age(appended: i64) -> Duration {
    let now = i64::try_from(now_millis()).unwrap_or(i64::MAX);
    Duration::from_millis(u64::try_from(now - appended).unwrap_or_default())
}

/// The times of the appends of the first records at or after these offsets, as far as they are read in time.
/// `None` for a partition that has only transaction markers there.
async fn append_times(
    cluster: &Cluster,
    topic: Arc<str>,
    places: Vec<(i32, i64)>,
) -> Result<BTreeMap<i32, Option<i64>>, TransportError> {
    let mut config = cluster.settings().reader(&topic);
    config.set("queued.min.messages", "1");
    config.set("enable.partition.eof", "true");
    let deadline = cluster.settings().deadline();
    blocking(cluster.settings(), DOING, move || {
        let client: BaseConsumer = config.create()?;
        let mut from = TopicPartitionList::new();
        for (number, offset) in &places {
            from.add_partition_offset(&topic, *number, Offset::Offset(*offset))?;
        }
        client.assign(&from)?;
        let mut found = BTreeMap::new();
        let end = Instant::now() + deadline;
        while found.len() < places.len() && Instant::now() < end {
            let (number, appended) = match client.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let appended = message.timestamp().to_millis();
                    (message.partition(), appended.or(Some(0)))
                }
                Some(Err(KafkaError::PartitionEOF(number))) => (number, None),
                _ => continue,
            };
            found.entry(number).or_insert(appended);
        }
        Ok(found)
    })
    .await
}

/// The offsets of a list by partition.
fn offsets(list: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let places = list.elements();
    let offset = |place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        place.error()?;
        let offset = place.offset().to_raw().unwrap_or(0);
        Ok((place.partition(), offset.max(0)))
    };
    places.iter().map(offset).collect()
}
