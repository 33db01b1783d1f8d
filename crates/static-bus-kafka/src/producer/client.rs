//! A client of the producer, with what it has reported.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, KafkaResult},
    message::DeliveryResult,
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use super::batch::Place;
use crate::{clients, cluster::Cluster, errors, names::topic_name};
use static_bus_remote::{DEAD_LETTERS, lock::lock, transport::TransportError};

/// The timeout of one request for metadata, after which failures of connections are looked at.
const METADATA_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) struct Client {
    /// `None` while it is dropped.
    producer: Option<ThreadedProducer<Context>>,
    state: Arc<State>,
}

/// The operation of [`Client::reach`] in errors.
const CONNECTING: &str = "connecting";

type Message<'a> = BaseRecord<'a, [u8], [u8], Box<Place>>;

/// A failure of the connections that the client reported.
struct Failure {
    code: RDKafkaErrorCode,
    report: String,
    /// `true` if a new attempt would fail, too.
    is_final: bool,
}

/// What the client has reported.
#[derive(Default)]
struct State {
    /// The last failure of its connections.
    failure: Mutex<Option<Failure>>,
    /// `true` if a record was not delivered in time.
    has_timed_out: AtomicBool,
}

struct Context(Arc<State>);

impl Client {
    /// A client whose batches have up to this size.
    pub fn start(cluster: &Cluster, batch_bytes: usize) -> Result<Arc<Self>, TransportError> {
        let state = Arc::default();
        let context = Context(Arc::clone(&state));
        let settings = cluster.settings();
        let producer = clients::start(settings, &settings.producer(batch_bytes), context)?;
        Ok(Arc::new(Client {
            producer: Some(producer),
            state,
        }))
    }

    /// Passes a record to the client without waiting.
    #[expect(clippy::result_large_err, reason = "the error returns the message")]
    pub fn send<'a>(&self, message: Message<'a>) -> Result<(), (KafkaError, Message<'a>)> {
        self.producer().send(message)
    }

    /// Returns `true` if a fatal error has occurred, after which all records are refused, or if a record has timed out:
    /// the client may have lost the leader of a partition for good.
    pub fn is_broken(&self) -> bool {
        let has_timed_out = self.state.has_timed_out.load(Ordering::Relaxed);
        has_timed_out || self.producer().client().fatal_error().is_some()
    }

    /// Waits until a server has answered.
    pub async fn reach(self: &Arc<Self>, cluster: &Arc<Cluster>) -> Result<(), TransportError> {
        let (client, of) = (self.clone(), cluster.clone());
        let asked = clients::on_thread(move || client.request_metadata(&of)).await;
        asked.unwrap_or_else(|| Err(cluster.unanswered(CONNECTING)))
    }

    fn request_metadata(&self, cluster: &Cluster) -> Result<(), TransportError> {
        let settings = cluster.settings();
        let end = Instant::now() + settings.deadline();
        *lock(&self.state.failure) = None;
        // Any topic serves. The metadata of all topics may be large.
        let topic = topic_name(settings.namespace(), &DEAD_LETTERS);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let answer: KafkaResult<_> = self
                .producer()
                .client()
                .fetch_metadata(Some(&topic), left.min(METADATA_TIMEOUT));
            let Err(e) = answer else {
                return Ok(());
            };
            let is_over = Instant::now() >= end;
            match &*lock(&self.state.failure) {
                Some(failure) if is_over || failure.is_final => {
                    let Failure { code, report, .. } = failure;
                    return Err(errors::connection(settings.address(), *code, report));
                }
                None if is_over => return Err(cluster.error(CONNECTING, &e)),
                _ => {}
            }
        }
    }

    fn producer(&self) -> &ThreadedProducer<Context> {
        self.producer
            .as_ref()
            .expect("a producer until the client is dropped")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        clients::end(self.producer.take());
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, report: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, SSL};
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let mut last = lock(&self.0.failure);
        match &mut *last {
            // The failure before it contains the reason.
            Some(failure) if code == AllBrokersDown => failure.is_final = true,
            _ => {
                *last = Some(Failure {
                    code,
                    report: report.to_owned(),
                    is_final: matches!(code, AllBrokersDown | Authentication | SSL),
                });
            }
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        if let Err((error, _)) = result
            && error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut)
        {
            self.0.has_timed_out.store(true, Ordering::Relaxed);
        }
        place.delivered(result);
    }
}
