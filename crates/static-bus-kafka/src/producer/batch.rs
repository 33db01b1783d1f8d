//! The results of the records of one call.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use rdkafka::{error::KafkaError, message::DeliveryResult, types::RDKafkaErrorCode};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::window::Room;
use static_bus_remote::lock::lock;

/// The results of the records of one call.
pub(super) struct Batch {
    /// The number of records that the client has and that have no result, plus one until all records are sent.
    waiting: AtomicUsize,
    results: Mutex<Vec<Option<Result<(), Failure>>>>,
    completed: Notify,
}

/// The failure of a record.
#[derive(Clone)]
pub(super) enum Failure {
    Client(KafkaError),
    /// This client does not send records of this size.
    TooLarge,
    /// There was no room in the window.
    NotSent,
}

/// The place of the result of one record in a batch.
pub(super) struct Place {
    batch: Arc<Batch>,
    number: usize,
    room: Room,
}

impl Batch {
    /// The results of this number of records.
    pub fn new(records: usize) -> Arc<Self> {
        Arc::new(Batch {
            waiting: AtomicUsize::new(1),
            results: Mutex::new(vec![None; records]),
            completed: Notify::new(),
        })
    }

    /// Waits for the results, which are `None` of records without a result by then. All records are sent.
    pub async fn results(&self, end: Instant) -> Vec<Option<Result<(), Failure>>> {
        self.count_down();
        let _ = timeout_at(end, self.completed.notified()).await;
        std::mem::take(&mut *lock(&self.results))
    }

    /// Counts a result, or the end of sending.
    fn count_down(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.completed.notify_one();
        }
    }

    /// Stores the failure of a record that the client does not get.
    pub fn fail(&self, number: usize, failure: Failure) {
        lock(&self.results)[number] = Some(Err(failure));
    }

    /// Stores that a record and those after it were not sent.
    pub fn fail_from(&self, number: usize) {
        lock(&self.results)[number..].fill(Some(Err(Failure::NotSent)));
    }
}

impl Place {
    /// The place of a record that is passed to the client next.
    pub fn new(batch: &Arc<Batch>, number: usize, room: Room) -> Box<Self> {
        batch.waiting.fetch_add(1, Ordering::AcqRel);
        Box::new(Place {
            batch: batch.clone(),
            number,
            room,
        })
    }

    /// Stores the result that the client reports.
    pub fn delivered(self, result: &DeliveryResult<'_>) {
        self.complete(match result {
            Ok(_) => Ok(()),
            Err((e, _)) => Err(e.clone()),
        });
    }

    /// Stores that the client has refused the record.
    pub fn refused(self, error: KafkaError) {
        self.complete(Err(error));
    }

    fn complete(self, result: Result<(), KafkaError>) {
        let Place {
            batch,
            number,
            room,
        } = self;
        match &result {
            Ok(()) => room.confirmed(),
            Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut) => {
                room.timed_out();
            }
            Err(_) => {}
        }
        // The results are gone if the call has ended by its deadline.
        if let Some(place) = lock(&batch.results).get_mut(number) {
            *place = Some(result.map_err(Failure::Client));
        }
        batch.count_down();
    }
}
