//! The thread that reads the log of claims until the member is closed.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    message::{Message as _, Timestamp},
};
use tokio::time::{Instant, timeout};

use super::{Entry, Inner, Table};
use crate::clients;
use static_bus_remote::{time::millis, transport::TransportError};

/// The timeout of one poll.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// The interval at which the progress of the thread is checked during the start.
const START_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The delay after an error, which may occur again at once.
const ERROR_DELAY: Duration = Duration::from_millis(10);

/// Starts the thread, and waits until it has read the log up to now.
pub(super) async fn start(inner: Arc<Inner>) -> Result<(), TransportError> {
    let (joined_at, now) = join(&inner).await?;
    let begin = now.saturating_sub(Table::reach(
        millis(inner.lease),
        millis(inner.deduplication),
    ));
    let (one, reading) = (inner.clone(), inner.log.reading());
    let opened = clients::on_thread(move || open(&one, begin, joined_at)).await;
    let consumer = match opened {
        Some(opened) => opened.map_err(|e| inner.cluster.error(&reading, &e))?,
        None => return Err(inner.unread()),
    };
    let one = inner.clone();
    let cluster = &inner.cluster;
    cluster.start_thread("kafka claims", move || read(&one, consumer))?;

    let (mut before, mut last) = (-1, Instant::now());
    loop {
        let read = inner.state().read;
        if read >= joined_at {
            return Ok(());
        }
        if read > before {
            (before, last) = (read, Instant::now());
        } else if last.elapsed() > inner.timeout() {
            return Err(inner.unread());
        }
        let _ = timeout(START_POLL_INTERVAL, inner.progress.notified()).await;
    }
}

/// Appends the entry of a new member. Returns its offset and its timestamp by the clock of the broker.
async fn join(inner: &Inner) -> Result<(i64, u64), TransportError> {
    let member = (&*inner.member).into();
    let written = inner.log.send(&Entry::Join { member })?;
    let delivery = match timeout(inner.timeout(), written).await {
        Ok(Ok(Ok(delivery))) => delivery,
        Ok(Ok(Err((e, _)))) => return Err(inner.log.refused(&e)),
        Ok(Err(_)) | Err(_) => return Err(inner.log.unanswered()),
    };
    Ok((delivery.offset, time(delivery.timestamp)))
}

/// Opens the log at the first entry with a timestamp of `begin` or later.
fn open(inner: &Inner, begin: u64, joined_at: i64) -> KafkaResult<BaseConsumer> {
    let (log, consumer) = (&inner.log, client(inner)?);
    let mut places = TopicPartitionList::new();
    let time = i64::try_from(begin).unwrap_or(i64::MAX);
    places.add_partition_offset(log.name(), 0, Offset::Offset(time))?;
    let found = consumer.offsets_for_times(places, inner.cluster.settings().deadline())?;
    let found = found.find_partition(log.name(), 0);
    let offset = found.map(|found| found.error().map(|()| found.offset()));
    let offset = match offset.transpose()? {
        Some(Offset::Offset(offset)) => offset.min(joined_at),
        _ => joined_at,
    };
    // A table of a whole log is complete.
    if offset > 0 {
        let (lease, kept) = (millis(inner.lease), millis(inner.deduplication));
        inner.state().table = Table::since(begin, lease, kept);
    }
    read_from(offset, inner, &consumer)?;
    Ok(consumer)
}

/// Opens the log at the next entry.
fn open_again(inner: &Inner) -> KafkaResult<BaseConsumer> {
    let consumer = client(inner)?;
    let next = inner.state().read + 1;
    read_from(next, inner, &consumer)?;
    Ok(consumer)
}

fn client(inner: &Inner) -> KafkaResult<BaseConsumer> {
    let mut config = inner.cluster.settings().reader(inner.log.name());
    config.set("fetch.wait.max.ms", "500");
    config.set("queued.max.messages.kbytes", "8192");
    config.create()
}

fn read_from(offset: i64, inner: &Inner, consumer: &BaseConsumer) -> KafkaResult<()> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(inner.log.name(), 0, Offset::Offset(offset))?;
    consumer.assign(&assignment)
}

/// Reads the log until the member is closed.
pub(super) fn read(inner: &Inner, mut consumer: BaseConsumer) {
    let mut opened = Instant::now();
    while !inner.closed.load(Ordering::Acquire) {
        let is_replaced = inner.replaces_reader.swap(false, Ordering::AcqRel);
        // A younger client has not had the time that a call waits.
        if is_replaced && opened.elapsed() >= inner.timeout() {
            opened = Instant::now();
            match open_again(inner) {
                Ok(next) => clients::end(std::mem::replace(&mut consumer, next)),
                Err(e) => on_error(inner, e),
            }
        }
        match consumer.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => {
                let entry = message.payload().and_then(Entry::read);
                if let Some(entry) = &entry {
                    inner.on_entry(entry, time(message.timestamp()));
                }
                let mut state = inner.state();
                state.read = message.offset();
                state.error = None;
                drop(state);
                inner.progress.notify_one();
            }
            Some(Err(e)) => on_error(inner, e),
        }
    }
}

/// Keeps an error for the calls that wait.
fn on_error(inner: &Inner, error: KafkaError) {
    inner.state().error = Some(error);
    thread::sleep(ERROR_DELAY);
}

/// A timestamp in milliseconds since the Unix epoch.
fn time(timestamp: Timestamp) -> u64 {
    timestamp
        .to_millis()
        .and_then(|ms| u64::try_from(ms).ok())
        .unwrap_or(0)
}
