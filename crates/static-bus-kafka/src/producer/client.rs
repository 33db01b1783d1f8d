//! One client of the library that produces.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, KafkaResult},
    message::DeliveryResult,
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use super::Place;
use crate::{clients, errors, settings::Settings};
use static_bus_remote::{
    lock::lock,
    transport::{Kind, Topic, TransportError},
};

/// For how long to ask before looking whether the client has reported trouble meanwhile.
const GLANCE: Duration = Duration::from_millis(200);

pub(super) struct Client {
    /// None only while it is dropped.
    producer: Option<ThreadedProducer<Context>>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

type Message<'a> = BaseRecord<'a, str, [u8], Box<Place>>;

/// What is wrong with the connections, as the client reports it.
struct Trouble {
    code: RDKafkaErrorCode,
    report: String,
    /// Whether asking again would not help.
    is_final: bool,
}

struct Context {
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl Client {
    pub fn start(settings: &Settings) -> Result<Arc<Self>, TransportError> {
        let trouble = Arc::default();
        let context = Context {
            trouble: Arc::clone(&trouble),
        };
        let producer = clients::start(settings, &settings.producer(), context)?;
        Ok(Arc::new(Client {
            producer: Some(producer),
            trouble,
        }))
    }

    /// Gives a record to the client; never waits.
    #[expect(clippy::result_large_err, reason = "the message is given back")]
    pub fn send<'a>(&self, message: Message<'a>) -> Result<(), (KafkaError, Message<'a>)> {
        self.producer().send(message)
    }

    /// Whether it refuses everything from now on.
    pub fn is_broken(&self) -> bool {
        self.producer().client().fatal_error().is_some()
    }

    /// Returns when a server has answered.
    pub async fn reach(self: &Arc<Self>, settings: &Arc<Settings>) -> Result<(), TransportError> {
        let (client, of) = (self.clone(), settings.clone());
        let asked = tokio::task::spawn_blocking(move || client.ask(&of)).await;
        asked.unwrap_or_else(|_| Err(errors::unanswered(&settings.address, "connecting")))
    }

    fn ask(&self, settings: &Settings) -> Result<(), TransportError> {
        let end = Instant::now() + settings.deadline;
        *lock(&self.trouble) = None;
        // Any topic will do, and to ask for all of them would be much.
        let topic = Topic {
            kind: Kind::DeadLetter,
            name: "".into(),
        };
        let topic = crate::topics::topic_name(&settings.namespace, &topic);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let answer: KafkaResult<_> = self
                .producer()
                .client()
                .fetch_metadata(Some(&topic), left.min(GLANCE));
            let Err(e) = answer else {
                return Ok(());
            };
            let is_over = Instant::now() >= end;
            let trouble = lock(&self.trouble);
            match &*trouble {
                Some(trouble) if is_over || trouble.is_final => {
                    return Err(errors::connection(
                        &settings.address,
                        trouble.code,
                        &trouble.report,
                    ));
                }
                None if is_over => return Err(errors::error(&settings.address, "connecting", &e)),
                _ => {}
            }
        }
    }

    fn producer(&self) -> &ThreadedProducer<Context> {
        self.producer
            .as_ref()
            .expect("it is there until it is dropped")
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
        let mut trouble = lock(&self.trouble);
        match &mut *trouble {
            // It says how many there are; the one before says why they are down.
            Some(trouble) if code == AllBrokersDown => trouble.is_final = true,
            _ => {
                *trouble = Some(Trouble {
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
        place.delivered(result);
    }
}
