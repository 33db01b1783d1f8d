//! A broker for tests, which becomes unreachable while its dead letters are read.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use static_bus_remote::{
    DEAD_LETTERS, Headers, MemoryBroker, Transport, TransportError, TransportErrorKind,
    transport::{DeadLetterRecord, Inspect, Record, Subscription, Topic, TopicState},
};

/// A broker whose dead letters can be read a number of times.
#[derive(Clone)]
pub struct UnreliableBroker {
    broker: MemoryBroker,
    /// The number of reads that succeed.
    limit: usize,
    reads: Arc<AtomicUsize>,
}

impl UnreliableBroker {
    /// A broker with a number of dead letters. The first `limit` reads of them succeed.
    pub async fn new(letters: usize, limit: usize) -> Self {
        let broker = MemoryBroker::new();
        let record = Record {
            headers: Headers::from_iter([("origin", "command orders.place")]),
            ..Record::default()
        };
        let records = vec![(DEAD_LETTERS, record); letters];
        for result in broker.append(records).await {
            result.unwrap();
        }
        UnreliableBroker {
            broker,
            limit,
            reads: Arc::default(),
        }
    }

    /// The positions of the dead letters, also when reads fail.
    pub async fn positions(&self) -> Vec<String> {
        let letters = self.broker.dead_letters(None, usize::MAX).await.unwrap();
        letters.into_iter().map(|letter| letter.position).collect()
    }
}

impl Transport for UnreliableBroker {
    type Consumer = <MemoryBroker as Transport>::Consumer;
    type Receiver = <MemoryBroker as Transport>::Receiver;

    fn address(&self) -> &str {
        self.broker.address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.broker.check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        self.broker.append(records).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<Self::Consumer, TransportError> {
        self.broker.consume(subscription).await
    }

    async fn listen(&self, topic: Topic) -> Result<Self::Receiver, TransportError> {
        self.broker.listen(topic).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        if self.reads.fetch_add(1, Ordering::Relaxed) >= self.limit {
            let (kind, reason) = (TransportErrorKind::Unreachable, "connection refused");
            return Err(TransportError::new(kind, self.address(), reason));
        }
        self.broker.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.broker.remove_dead_letters(positions).await
    }
}

impl Inspect for UnreliableBroker {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        self.broker.topics().await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        self.broker.inspect(topics).await
    }
}
