//! A commit of offsets.

use std::sync::Arc;

use rdkafka::{
    TopicPartitionList,
    consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata},
    error::KafkaResult,
};

use crate::{events::Client, outputs::Acknowledgement, transactions::Committer};

/// A commit to be made.
pub(crate) struct Commit {
    client: Arc<Client>,
    offsets: TopicPartitionList,
    acknowledgements: Vec<Acknowledgement>,
    /// The generation of the group, for a transaction.
    group: Option<ConsumerGroupMetadata>,
}

impl Commit {
    /// A commit; `group` is read together with the offsets.
    pub fn new(
        client: Arc<Client>,
        offsets: TopicPartitionList,
        acknowledgements: Vec<Acknowledgement>,
        group: Option<ConsumerGroupMetadata>,
    ) -> Self {
        Commit {
            client,
            offsets,
            acknowledgements,
            group,
        }
    }

    /// Makes the commit, and blocks until it has ended; with a committer as a transaction. A transaction whose
    /// outcome is unknown ends when `is_over` returns `true`.
    pub fn run(
        &self,
        committer: Option<&Committer>,
        is_over: impl Fn() -> bool,
    ) -> KafkaResult<()> {
        let (client, offsets) = (&self.client, &self.offsets);
        match committer {
            None => client.commit(offsets, CommitMode::Sync),
            Some(committer) => {
                let (group, all) = (self.group.as_ref(), &self.acknowledgements);
                committer.commit(client, offsets, group, all, is_over)
            }
        }
    }

    /// The acknowledgements of the commit.
    pub fn into_acknowledgements(self) -> Vec<Acknowledgement> {
        self.acknowledgements
    }
}
