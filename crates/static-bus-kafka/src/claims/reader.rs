//! Reads the log of claims, in a thread of its own, for as long as its member lives.

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

use super::{Entry, Shared, Table, millis};
use crate::errors;
use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// Begins to read, far enough back, and waits until what was there is read.
pub async fn start(shared: Arc<Shared>) -> Result<(), TransportError> {
    let (joined_at, now) = join(&shared).await?;
    let begin = now.saturating_sub(Table::reach(millis(shared.lease), millis(shared.kept)));
    let (one, reading) = (shared.clone(), shared.log.reading());
    let opened = tokio::task::spawn_blocking(move || open(&one, begin, joined_at)).await;
    let consumer = match opened {
        Ok(opened) => opened.map_err(|e| errors::error(&shared.settings.address, &reading, &e))?,
        Err(_) => return Err(shared.unread()),
    };
    let one = shared.clone();
    let thread = thread::Builder::new().name("kafka claims".to_owned());
    let started = thread.spawn(move || read(&one, &consumer));
    started.map_err(|e| {
        let reason = format!("no thread can be started: {e}");
        TransportError::new(
            TransportErrorKind::Unreachable,
            shared.settings.address.clone(),
            reason,
        )
    })?;

    let (mut before, mut last) = (-1, Instant::now());
    loop {
        let read = shared.state().read;
        if read >= joined_at {
            return Ok(());
        }
        if read > before {
            (before, last) = (read, Instant::now());
        } else if last.elapsed() > shared.patience() {
            return Err(shared.unread());
        }
        let _ = timeout(Duration::from_millis(20), shared.progress.notified()).await;
    }
}

/// Writes to the log that there is a new member, and gives the place and the broker's time.
async fn join(shared: &Shared) -> Result<(i64, u64), TransportError> {
    let member = (&*shared.member).into();
    let written = shared.log.send(&Entry::Join { member })?;
    let delivery = match timeout(shared.patience(), written).await {
        Ok(Ok(Ok(delivery))) => delivery,
        Ok(Ok(Err((e, _)))) => return Err(shared.log.error(&e)),
        Ok(Err(_)) | Err(_) => return Err(shared.log.unanswered()),
    };
    Ok((delivery.offset, time(delivery.timestamp)))
}

/// Opens the log at the first entry that is as late as `begin`.
fn open(shared: &Shared, begin: u64, joined_at: i64) -> KafkaResult<BaseConsumer> {
    let log = &shared.log;
    let mut config = shared.settings.consumer(&log.name);
    config.set("fetch.wait.max.ms", "500");
    config.set("queued.max.messages.kbytes", "8192");
    let consumer: BaseConsumer = config.create()?;
    let mut places = TopicPartitionList::new();
    let time = i64::try_from(begin).unwrap_or(i64::MAX);
    places.add_partition_offset(&log.name, 0, Offset::Offset(time))?;
    let found = consumer.offsets_for_times(places, shared.settings.deadline)?;
    let found = found.find_partition(&log.name, 0);
    let offset = found.map(|found| found.error().map(|()| found.offset()));
    let offset = match offset.transpose()? {
        Some(Offset::Offset(offset)) => offset.min(joined_at),
        _ => joined_at,
    };
    // Of a log that is read from its first entry nothing is missed.
    if offset > 0 {
        let (lease, kept) = (millis(shared.lease), millis(shared.kept));
        shared.state().table = Table::since(begin, lease, kept);
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&log.name, 0, Offset::Offset(offset))?;
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn read(shared: &Shared, consumer: &BaseConsumer) {
    while !shared.closed.load(Ordering::Acquire) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let entry = message.payload().and_then(Entry::read);
                if let Some(entry) = &entry {
                    shared.on_entry(entry, time(message.timestamp()));
                }
                let mut state = shared.state();
                state.read = message.offset();
                state.trouble = None;
                drop(state);
                shared.progress.notify_one();
            }
            Some(Err(e)) => on_trouble(shared, e),
        }
    }
}

/// The client goes on by itself. What cannot be read is told to those who wait for it.
fn on_trouble(shared: &Shared, error: KafkaError) {
    shared.state().trouble = Some(error);
    // Some errors come again at once.
    thread::sleep(Duration::from_millis(10));
}

fn time(timestamp: Timestamp) -> u64 {
    timestamp
        .to_millis()
        .and_then(|ms| u64::try_from(ms).ok())
        .unwrap_or(0)
}
