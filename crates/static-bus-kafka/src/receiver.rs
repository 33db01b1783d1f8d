//! Receivers of queries and replies.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    assignment::{Assignment, Held},
    cluster::Cluster,
    membership::{self, MAX_SESSION_TIMEOUT, Member},
    names::group_id,
    receivers::{GROUP, await_member},
    replies::Replies,
};
use static_bus_remote::transport::{Kind, Receiver, Record, Topic, TransportError};

/// A receiver of queries or replies.
///
/// The receivers of a query are members of one consumer group: each has some of the partitions.
pub struct KafkaReceiver(Source);

enum Source {
    Queries {
        member: Member<Held>,
        deadline: Duration,
    },
    Replies(Replies),
}

impl KafkaReceiver {
    /// Opens a receiver.
    pub(super) async fn open(
        cluster: &Arc<Cluster>,
        topic: &Topic,
    ) -> Result<Self, TransportError> {
        let source = match topic.kind {
            Kind::Query => Source::Queries {
                member: Self::join(cluster, topic).await?,
                deadline: cluster.settings().deadline(),
            },
            Kind::Reply => Source::Replies(Replies::open(cluster, topic).await?),
            _ => {
                let address = cluster.settings().address();
                return Err(TransportError::not_received(address.clone(), topic));
            }
        };
        Ok(KafkaReceiver(source))
    }

    /// Joins the group of the receivers of a query.
    async fn join(cluster: &Arc<Cluster>, topic: &Topic) -> Result<Member<Held>, TransportError> {
        let name = cluster.topics().get(topic).await?.name;
        let group = group_id(cluster.settings().namespace(), topic, GROUP);
        let config = cluster.settings().consumer(&group);
        let config = membership::with_defaults(config, MAX_SESSION_TIMEOUT);
        let client = membership::client(cluster, &config)?;
        // A hold ends before another member may be assigned the partition.
        let hold = membership::session_timeout(&config) / 2;
        let assignment = Assignment::new(name, hold, false, client.clone());
        let member = Member::start(cluster, config, client, assignment, None)?;
        // Senders refuse queries of a group without a member.
        member.join();
        let groups = cluster.query_groups().await?;
        match await_member(&groups, topic, cluster.settings().deadline()).await {
            true => Ok(member),
            false => Err(cluster.unanswered("joining the group of a query")),
        }
    }
}

impl Receiver for KafkaReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        match &self.0 {
            Source::Queries { member, .. } => member.receive(max, wait).await,
            Source::Replies(replies) => replies.receive(max, wait).await,
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        match &self.0 {
            Source::Queries { member, deadline } => member.close(Instant::now() + *deadline).await,
            Source::Replies(replies) => replies.close().await,
        }
    }
}

impl fmt::Debug for KafkaReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReceiver").finish_non_exhaustive()
    }
}
