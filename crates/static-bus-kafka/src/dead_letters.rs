//! Dead letters: a compacted topic with one partition, in which each dead letter has a unique key.
//!
//! A dead letter is removed by a tombstone, a record with its key and no value. Compaction removes both later;
//! until then they are skipped here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Message as _},
    producer::FutureRecord,
    types::RDKafkaErrorCode,
};

use super::{clients, cluster::Cluster, wire};
use static_bus_remote::{
    DEAD_LETTERS,
    time::now_millis,
    transport::{DeadLetterRecord, TransportError, TransportErrorKind},
};

/// Up to `limit` dead letters after a position.
pub(super) async fn list(
    cluster: &Cluster,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetterRecord>, TransportError> {
    let name = cluster.topics().get(&DEAD_LETTERS).await?.name;
    let begin = match after {
        Some(position) => parse_position(cluster, position)?.0.saturating_add(1),
        None => 0,
    };
    if limit == 0 {
        return Ok(Vec::new());
    }
    let (config, deadline) = (
        cluster.settings().consumer(&name),
        cluster.settings().deadline(),
    );
    let read = move || Reader::open(&name, &config, deadline)?.list(begin, limit);
    match clients::on_thread(read).await {
        Some(read) => read.map_err(|e| cluster.error(READING, &e)),
        None => Err(cluster.unanswered(READING)),
    }
}

/// Removes the dead letters at these positions.
pub(super) async fn remove(cluster: &Cluster, positions: &[String]) -> Result<(), TransportError> {
    let name = cluster.topics().get(&DEAD_LETTERS).await?.name;
    let producer = cluster.writer().producer()?;
    let mut removals = Vec::with_capacity(positions.len());
    for position in positions {
        let (_, key) = parse_position(cluster, position)?;
        let tombstone = FutureRecord::<_, ()>::to(&name).key(key).partition(0);
        removals.push(producer.send(tombstone, cluster.settings().deadline()));
    }
    for removal in removals {
        let failed = |(e, _)| cluster.error("removing dead letters", &e);
        removal.await.map_err(failed)?;
    }
    Ok(())
}

/// The operation of [`list`] in errors.
const READING: &str = "reading dead letters";
/// The timeout of one poll.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// A reader of the topic of dead letters.
struct Reader<'n> {
    name: &'n str,
    consumer: BaseConsumer,
    deadline: Duration,
}

impl<'n> Reader<'n> {
    fn open(name: &'n str, config: &ClientConfig, deadline: Duration) -> KafkaResult<Self> {
        let mut config = config.clone();
        config.set("enable.partition.eof", "true");
        Ok(Reader {
            name,
            consumer: config.create()?,
            deadline,
        })
    }

    /// Up to `limit` dead letters from an offset on.
    fn list(&self, begin: i64, limit: usize) -> KafkaResult<Vec<DeadLetterRecord>> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(self.name, 0, self.deadline)?;
        let begin = begin.max(low);
        if begin >= high {
            return Ok(Vec::new());
        }
        let mut removed = HashSet::new();
        // Reads again if tombstones at the end have removed dead letters of the page.
        loop {
            let mut letters = BTreeMap::new();
            let (mut places, mut left_out) = (HashMap::new(), false);
            self.read(begin, |message| {
                let key = message.key().unwrap_or_default();
                if message.payload().is_none() {
                    removed.insert(key.to_vec());
                    if let Some(place) = places.remove(key) {
                        letters.remove(&place);
                    }
                } else if !removed.contains(key) {
                    left_out |= letters.len() == limit;
                    if !left_out {
                        places.insert(key.to_vec(), message.offset());
                        letters.insert(message.offset(), letter(message));
                    }
                }
            })?;
            if letters.len() == limit || !left_out {
                return Ok(letters.into_values().collect());
            }
        }
    }

    /// Passes each message from an offset to the end to a function.
    fn read(&self, begin: i64, mut each: impl FnMut(&BorrowedMessage<'_>)) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(self.name, 0, Offset::Offset(begin))?;
        self.consumer.assign(&assignment)?;
        let mut last = Instant::now();
        let mut last_error = None;
        loop {
            match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    each(&message);
                    last = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(e)) => last_error = Some(e),
                None => {}
            }
            if last.elapsed() > self.deadline {
                let late = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                return Err(last_error.unwrap_or(late));
            }
        }
    }
}

fn letter(message: &BorrowedMessage<'_>) -> DeadLetterRecord {
    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
    DeadLetterRecord {
        // The offset has a fixed width, so that positions sort as strings.
        position: format!("{:019} {key}", message.offset()),
        record: wire::decode(message, now_millis()),
    }
}

/// The offset and the key in a position.
fn parse_position<'p>(
    cluster: &Cluster,
    position: &'p str,
) -> Result<(i64, &'p str), TransportError> {
    let parts = position.split_once(' ');
    let parts = parts.and_then(|(offset, key)| Some((offset.parse().ok()?, key)));
    parts.ok_or_else(|| {
        let reason = format!("{position:?} is not the position of a dead letter");
        cluster.failure(TransportErrorKind::Refused, reason)
    })
}
