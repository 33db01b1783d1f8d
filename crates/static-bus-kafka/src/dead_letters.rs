//! Dead letters: a compacted topic with one partition, in which each dead letter has a unique key.
//!
//! A dead letter is removed by a tombstone, a record with its key and no value. Compaction removes both later;
//! until then they are skipped here. A tombstone is behind its dead letter, so a listing reads the topic twice: to the
//! end for the keys that are removed, and page by page for the dead letters. A page that is not the last leaves its
//! listing to the next one.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Message as _},
    metadata::MetadataTopic,
    producer::FutureRecord,
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};

use super::{clients, cluster::Cluster, names::topic_name, wire};
use static_bus_remote::{
    DEAD_LETTERS,
    lock::lock,
    time::now_millis,
    transport::{DeadLetterRecord, TransportError, TransportErrorKind},
};

/// Up to `limit` dead letters after a position.
pub(super) async fn list(
    cluster: &Cluster,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetterRecord>, TransportError> {
    // A listing does not create the topic.
    let name: Arc<str> = topic_name(cluster.settings().namespace(), &DEAD_LETTERS).into();
    let begin = match after {
        Some(position) => parse_position(cluster, position)?.0.saturating_add(1),
        None => 0,
    };
    if limit == 0 {
        return Ok(Vec::new());
    }
    let (config, deadline) = (
        cluster.settings().reader(&name),
        cluster.settings().deadline(),
    );
    let listing = cluster.listing().take(begin);
    let read = move || {
        let mut listing = match listing {
            Some(listing) => listing,
            None => Listing::open(name, config, deadline, begin)?,
        };
        Ok((listing.page(limit)?, listing))
    };
    match clients::on_thread(read).await {
        Some(Ok((letters, listing))) => {
            match letters.len() == limit {
                true => cluster.listing().put(listing),
                false => clients::end(listing),
            }
            Ok(letters)
        }
        Some(Err(e)) => Err(cluster.error(READING, &e)),
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
        removal.await.map_err(|(e, _)| {
            cluster.writer().failed(&e);
            cluster.error("removing dead letters", &e)
        })?;
    }
    Ok(())
}

/// The operation of [`list`] in errors.
const READING: &str = "reading dead letters";
/// The timeout of one poll.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// The listing that the next page may continue.
#[derive(Default)]
pub(super) struct LastListing(Mutex<Option<Listing>>);

/// A pass over the topic of dead letters.
pub(super) struct Listing {
    name: Arc<str>,
    consumer: BaseConsumer,
    deadline: Duration,
    /// The offset of the next page.
    next: i64,
    /// The offset up to which tombstones were read.
    scanned: i64,
    /// The keys of these tombstones.
    removed: HashSet<Vec<u8>>,
    /// The number of messages that were read.
    #[cfg(test)]
    messages: usize,
}

impl LastListing {
    /// The listing whose next page begins at this offset.
    fn take(&self, begin: i64) -> Option<Listing> {
        lock(&self.0).take_if(|listing| listing.next == begin)
    }

    /// Keeps a listing in place of the one before.
    fn put(&self, listing: Listing) {
        let before = lock(&self.0).replace(listing);
        before.into_iter().for_each(clients::end);
    }
}

impl Drop for LastListing {
    fn drop(&mut self) {
        lock(&self.0).take().into_iter().for_each(clients::end);
    }
}

impl Listing {
    fn open(
        name: Arc<str>,
        mut config: ClientConfig,
        deadline: Duration,
        begin: i64,
    ) -> KafkaResult<Self> {
        config.set("enable.partition.eof", "true");
        // What is read ahead of a page is read again.
        config.set("queued.max.messages.kbytes", "4096");
        Ok(Listing {
            name,
            consumer: config.create()?,
            deadline,
            next: begin,
            scanned: begin,
            removed: HashSet::new(),
            #[cfg(test)]
            messages: 0,
        })
    }

    /// Up to `limit` dead letters from the next offset on.
    fn page(&mut self, limit: usize) -> KafkaResult<Vec<DeadLetterRecord>> {
        let bounds = self.bounds()?;
        let mut removed = std::mem::take(&mut self.removed);
        self.scanned = self.read(self.scanned, bounds, |message| {
            if message.payload().is_none() {
                removed.insert(message.key().unwrap_or_default().to_vec());
            }
            ControlFlow::Continue(())
        })?;
        let mut letters = Vec::new();
        self.next = self.read(self.next, bounds, |message| {
            let is_removed = removed.contains(message.key().unwrap_or_default());
            if message.payload().is_some() && !is_removed {
                letters.push(letter(message));
            }
            match letters.len() == limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        self.removed = removed;
        self.consumer.unassign()?;
        Ok(letters)
    }

    /// The first offset, and the one behind the last; none of a topic that is missing.
    fn bounds(&self) -> KafkaResult<(i64, i64)> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.name), self.deadline)?;
        let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        let is_missing = |topic: &MetadataTopic| topic.error() == Some(missing);
        if metadata.topics().iter().any(is_missing) {
            return Ok((0, 0));
        }
        self.consumer.fetch_watermarks(&self.name, 0, self.deadline)
    }

    /// Passes messages from an offset on to a function, until it breaks or they end. Returns the offset behind the last
    /// one.
    fn read(
        &mut self,
        begin: i64,
        (low, high): (i64, i64),
        mut each: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> KafkaResult<i64> {
        let mut next = begin.max(low);
        if next >= high {
            return Ok(next);
        }
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.name, 0, Offset::Offset(next))?;
        self.consumer.assign(&assignment)?;
        let mut last = Instant::now();
        let mut last_error = None;
        loop {
            match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    #[cfg(test)]
                    {
                        self.messages += 1;
                    }
                    next = message.offset() + 1;
                    if each(&message).is_break() {
                        return Ok(next);
                    }
                    last = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(next),
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
        record: wire::decode(message, now_millis),
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

#[cfg(test)]
mod tests {
    use static_bus_remote::transport::{Record, Transport as _};

    use super::*;
    use crate::KafkaTransport;
    use test_brokers::kafka::Kafka;

    const LETTERS: usize = 300;

    /// Appends dead letters with the numbers.
    async fn bury(kafka: &KafkaTransport, numbers: std::ops::Range<usize>) {
        let letter = |n: usize| Record {
            body: n.to_string().into(),
            ..Record::default()
        };
        let letters = numbers.map(|n| (DEAD_LETTERS, letter(n)));
        for result in kafka.append(letters.collect()).await {
            result.unwrap();
        }
    }

    /// Lists all in pages, and removes those of each page. Returns their number, and the number of messages that were
    /// read.
    async fn drain(kafka: &KafkaTransport, size: usize) -> (usize, usize) {
        let (mut number, mut read) = (0, 0);
        let mut after: Option<String> = None;
        loop {
            let page = kafka.dead_letters(after.as_deref(), size).await.unwrap();
            if let Some(listing) = &*lock(&kafka.cluster.listing().0) {
                read = listing.messages;
            }
            let Some(last) = page.last() else {
                return (number, read);
            };
            after = Some(last.position.clone());
            number += page.len();
            let positions: Vec<_> = page.iter().map(|letter| letter.position.clone()).collect();
            kafka.remove_dead_letters(&positions).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_pass_over_all_dead_letters_reads_each_message_twice() {
        let builder = KafkaTransport::builder(Kafka::common().servers()).namespace("dead-reads");
        let builder = builder.deadline(Duration::from_secs(60));
        let kafka = builder.connect().await.unwrap();
        bury(&kafka, 0..LETTERS).await;
        let (number, read) = drain(&kafka, 10).await;
        assert_eq!(number, LETTERS);
        // The dead letters, the tombstones, and both once more.
        assert!((LETTERS..=4 * LETTERS).contains(&read), "{read}");
        assert!(kafka.dead_letters(None, 10).await.unwrap().is_empty());
        // A listing that is not continued does not disturb another one.
        bury(&kafka, 0..20).await;
        let first = kafka.dead_letters(None, 5).await.unwrap();
        let again = kafka.dead_letters(None, 5).await.unwrap();
        let ids =
            |page: &[DeadLetterRecord]| page.iter().map(|l| l.position.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ids(&again));
        let rest = kafka
            .dead_letters(Some(&first[4].position), 100)
            .await
            .unwrap();
        assert_eq!(rest.len(), 15);
        assert!(
            lock(&kafka.cluster.listing().0).is_none(),
            "the listing is over"
        );
    }
}
