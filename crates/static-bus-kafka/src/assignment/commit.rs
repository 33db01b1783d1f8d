//! A commit of offsets.

use std::sync::Arc;

use rdkafka::{
    TopicPartitionList,
    consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata},
    error::KafkaResult,
};

use crate::{
    events::Client,
    outputs::Acknowledgement,
    transactions::{Committer, Failure},
};

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

    /// Makes the commit, and blocks until it has ended; with a committer as a transaction.
    pub fn run(&self, committer: Option<&Committer>) -> Result<(), Failure> {
        let offsets = &self.offsets;
        match committer {
            None => {
                let committed = self.client.commit(offsets, CommitMode::Sync);
                committed.map_err(Failure::repeatable)
            }
            Some(committer) => {
                committer.commit(offsets, self.group.as_ref(), &self.acknowledgements)
            }
        }
    }

    /// Makes the commit as a transaction that is aborted, and blocks until it has ended.
    pub fn try_out(&self, committer: &Committer) -> KafkaResult<()> {
        let Commit {
            offsets,
            acknowledgements,
            group,
            ..
        } = self;
        committer.try_out(offsets, group.as_ref(), acknowledgements)
    }

    /// The acknowledgements of the commit.
    pub fn into_acknowledgements(self) -> Vec<Acknowledgement> {
        self.acknowledgements
    }
}
