//! Where a group begins, and how far it is behind.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};

use super::{
    assignment::{Client, Here},
    errors,
    membership::list,
    partition::Partition,
    settings::Settings,
    wire,
};
use static_bus_remote::transport::{Backlog, TransportError};

/// How long a call waits at a time.
const CALL: Duration = Duration::from_secs(2);
/// How long to look for the oldest record.
const LOOK: Duration = Duration::from_secs(1);

/// What the cluster knows of a group.
pub(super) struct Group {
    /// Where partitions begin and end.
    pub bounds: BTreeMap<i32, (i64, i64)>,
    committed: BTreeMap<i32, (i64, String)>,
}

/// Has a group begin where its topic ends, unless it has begun.
pub(super) async fn start(
    settings: &Settings,
    client: &Arc<Client>,
    topic: &Arc<str>,
    partitions: i32,
) -> Result<(), TransportError> {
    let deadline = settings.deadline;
    let (client, topic) = (client.clone(), topic.clone());
    blocking(settings, "starting a group", move || {
        let end = Instant::now() + deadline;
        again(end, || {
            let committed = client.committed_offsets(all(&topic, partitions), CALL)?;
            let places = committed.elements();
            places.iter().try_for_each(|place| place.error())?;
            let new = places.iter().filter(|place| !is_offset(place.offset()));
            let new: Vec<i32> = new.map(|place| place.partition()).collect();
            if new.is_empty() {
                return Ok(());
            }
            let mut ends = list(&topic, &new);
            ends.set_all_offsets(Offset::End)?;
            let ends = client.offsets_for_times(ends, CALL)?;
            ends.elements().iter().try_for_each(|place| place.error())?;
            match client.commit(&ends, CommitMode::Sync) {
                // The group has members: one of them has done this.
                Err(error) if has_members(&error) => Ok(()),
                result => result,
            }
        })
    })
    .await
}

/// Asks what the cluster knows of a group.
pub(super) async fn group(
    settings: &Settings,
    client: &Arc<Client>,
    topic: &Arc<str>,
    partitions: i32,
) -> Result<Group, TransportError> {
    let deadline = settings.deadline;
    let (client, topic) = (client.clone(), topic.clone());
    blocking(settings, "asking for the backlog", move || {
        let end = Instant::now() + deadline;
        again(end, || {
            let committed = client.committed_offsets(all(&topic, partitions), CALL)?;
            let [begins, ends] = [Offset::Beginning, Offset::End].map(|offset| {
                let mut places = all(&topic, partitions);
                places.set_all_offsets(offset)?;
                client.offsets_for_times(places, CALL)
            });
            let (begins, ends) = (offsets(&begins?)?, offsets(&ends?)?);
            let bounds = begins.into_iter().map(|(number, begin)| {
                let end = ends.get(&number).copied().unwrap_or(begin);
                (number, (begin, end.max(begin)))
            });
            let committed = committed.elements();
            let committed = committed.iter().filter_map(|place| match place.offset() {
                Offset::Offset(at) => Some((place.partition(), (at, place.metadata().to_owned()))),
                _ => None,
            });
            Ok(Group {
                bounds: bounds.collect(),
                committed: committed.collect(),
            })
        })
    })
    .await
}

impl Group {
    /// How far the group is behind, with what is known here of the partitions that are here.
    pub async fn backlog(
        self,
        settings: &Settings,
        topic: &Arc<str>,
        here: Here,
    ) -> Result<Backlog, TransportError> {
        let mut unsettled: u64 = here.unsettled.values().sum();
        let mut elsewhere = BTreeMap::new();
        for (number, (begin, end)) in &self.bounds {
            if here.unsettled.contains_key(number) {
                continue;
            }
            let (at, metadata) = match self.committed.get(number) {
                Some((at, metadata)) => (*at, &**metadata),
                None => (*begin, ""),
            };
            let waiting = Partition::<()>::new(at, metadata).unsettled(*begin, *end);
            if waiting > 0 {
                elsewhere.insert(*number, (at.max(*begin), waiting));
            }
        }
        let mut oldest = here.oldest;
        if !elsewhere.is_empty() {
            let places = elsewhere.iter().map(|(number, (at, _))| (*number, *at));
            let first = first(settings, topic, places.collect()).await?;
            elsewhere.retain(|number, _| first.get(number) != Some(&None));
            unsettled += elsewhere.values().map(|(_, waiting)| waiting).sum::<u64>();
            oldest = oldest
                .into_iter()
                .chain(first.into_values().flatten())
                .min();
        }
        let age = |appended: i64| {
            let now = i64::try_from(wire::now_millis()).unwrap_or(i64::MAX);
            Duration::from_millis(u64::try_from(now - appended).unwrap_or_default())
        };
        Ok(Backlog {
            pending: here.in_flight,
            lag: unsettled.saturating_sub(here.in_flight),
            oldest: oldest.map_or(Duration::ZERO, age),
        })
    }
}

/// When the records were appended that are the first after these places, as far as that is known soon. None
/// for a partition that has only markers of transactions there.
async fn first(
    settings: &Settings,
    topic: &Arc<str>,
    places: Vec<(i32, i64)>,
) -> Result<BTreeMap<i32, Option<i64>>, TransportError> {
    let mut config = settings.consumer("static-bus");
    config.set("queued.min.messages", "1");
    config.set("enable.partition.eof", "true");
    let topic = topic.clone();
    blocking(settings, "asking for the backlog", move || {
        let client: BaseConsumer = config.create()?;
        let mut from = TopicPartitionList::new();
        for (number, offset) in &places {
            from.add_partition_offset(&topic, *number, Offset::Offset(*offset))?;
        }
        client.assign(&from)?;
        let mut found = BTreeMap::new();
        let end = Instant::now() + LOOK;
        while found.len() < places.len() && Instant::now() < end {
            let (number, appended) = match client.poll(Duration::from_millis(50)) {
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

/// All partitions of a topic.
fn all(topic: &str, partitions: i32) -> TopicPartitionList {
    list(topic, &(0..partitions).collect::<Vec<_>>())
}

fn offsets(list: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let places = list.elements();
    let offset = |place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        place.error()?;
        let offset = place.offset().to_raw().unwrap_or(0);
        Ok((place.partition(), offset.max(0)))
    };
    places.iter().map(offset).collect()
}

fn is_offset(offset: Offset) -> bool {
    matches!(offset, Offset::Offset(_))
}

fn has_members(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    let codes = [
        Code::UnknownMemberId,
        Code::IllegalGeneration,
        Code::RebalanceInProgress,
    ];
    code.is_some_and(|code| codes.contains(&code))
}

/// Tries until it is time: a cluster that elects somebody says no for a while.
pub(super) fn again<T>(end: Instant, call: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    loop {
        match call() {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    settings: &Settings,
    doing: &str,
    call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> Result<T, TransportError> {
    let called = tokio::task::spawn_blocking(call);
    match tokio::time::timeout(settings.deadline + CALL, called).await {
        Ok(Ok(result)) => result.map_err(|e| errors::error(&settings.address, doing, &e)),
        Ok(Err(_)) | Err(_) => Err(errors::unanswered(&settings.address, doing)),
    }
}
