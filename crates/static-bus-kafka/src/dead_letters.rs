//! Dead letters: a compacted topic of one partition, in which each has a key of its own.
//!
//! To remove one is to append its key without a value. Kafka then removes both in its own time; until
//! then they are passed over here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Message as _},
    producer::FutureRecord,
    types::RDKafkaErrorCode,
};

use super::{errors, settings::Settings, wire};
use static_bus_remote::{
    DEAD_LETTERS,
    transport::{DeadLetterRecord, TransportError, TransportErrorKind},
};

pub(super) async fn list(
    settings: &Arc<Settings>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetterRecord>, TransportError> {
    let (name, _) = settings.topic(&DEAD_LETTERS).await?;
    let begin = match after {
        Some(position) => read_position(settings, position)?.0.saturating_add(1),
        None => 0,
    };
    if limit == 0 {
        return Ok(Vec::new());
    }
    let one = settings.clone();
    let read = move || {
        let reader = Reader::open(&one, &name)?;
        reader.list(begin, limit)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(|e| errors::error(&settings.address, READING, &e)),
        Err(_) => Err(errors::unanswered(&settings.address, READING)),
    }
}

pub(super) async fn remove(
    settings: &Arc<Settings>,
    positions: &[String],
) -> Result<(), TransportError> {
    let (name, _) = settings.topic(&DEAD_LETTERS).await?;
    let doing = "removing dead letters";
    let failed = |e: &KafkaError| errors::error(&settings.address, doing, e);
    let producer = settings.writer.client(settings)?;
    let mut removals = Vec::with_capacity(positions.len());
    for position in positions {
        let (_, key) = read_position(settings, position)?;
        let record = FutureRecord::<_, ()>::to(&name).key(key).partition(0);
        removals.push(producer.send(record, settings.deadline));
    }
    for removal in removals {
        removal.await.map_err(|(e, _)| failed(&e))?;
    }
    Ok(())
}

const READING: &str = "reading dead letters";

/// Reads the topic from a place to its end.
struct Reader<'s> {
    name: &'s str,
    consumer: BaseConsumer,
    deadline: Duration,
}

impl<'s> Reader<'s> {
    fn open(settings: &Settings, name: &'s str) -> KafkaResult<Self> {
        let mut config = settings.consumer(name);
        config.set("enable.partition.eof", "true");
        Ok(Reader {
            name,
            consumer: config.create()?,
            deadline: settings.deadline,
        })
    }

    fn list(&self, begin: i64, limit: usize) -> KafkaResult<Vec<DeadLetterRecord>> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(self.name, 0, self.deadline)?;
        let begin = begin.max(low);
        if begin >= high {
            return Ok(Vec::new());
        }
        let mut removed = HashSet::new();
        // A second time if some of those that were read first turned out to be removed further on.
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

    fn read(&self, begin: i64, mut each: impl FnMut(&BorrowedMessage<'_>)) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(self.name, 0, Offset::Offset(begin))?;
        self.consumer.assign(&assignment)?;
        let mut last = Instant::now();
        let mut trouble = None;
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    each(&message);
                    last = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(e)) => trouble = Some(e),
                None => {}
            }
            if last.elapsed() > self.deadline {
                let late = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                return Err(trouble.unwrap_or(late));
            }
        }
    }
}

fn letter(message: &BorrowedMessage<'_>) -> DeadLetterRecord {
    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
    DeadLetterRecord {
        // Of a fixed width, so that the order of texts is that of numbers.
        position: format!("{:019} {key}", message.offset()),
        record: wire::decode(message, wire::now_millis()),
    }
}

/// The offset and the key in a position.
fn read_position<'p>(
    settings: &Settings,
    position: &'p str,
) -> Result<(i64, &'p str), TransportError> {
    let parts = position.split_once(' ');
    let parts = parts.and_then(|(offset, key)| Some((offset.parse().ok()?, key)));
    parts.ok_or_else(|| {
        let reason = format!("this is not the position of a dead letter: {position:?}");
        TransportError::new(
            TransportErrorKind::Refused,
            settings.address.clone(),
            reason,
        )
    })
}
