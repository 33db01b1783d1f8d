//! The servers of a connection: one primary, or the nodes of a cluster.

use std::{sync::Arc, time::Duration};

use redis::RedisResult;
use tokio::sync::Notify;

use super::{
    cluster::{Address, Cluster, slot_of},
    link::Link,
    node::Node,
    server::{ReaderId, Server},
};

/// The servers, and the way from a slot to the server that has it. A single server has one slot.
pub(super) struct Servers {
    address: Arc<str>,
    deadline: Duration,
    routes: Routes,
    /// Notified when a connection was opened.
    opened: Arc<Notify>,
}

enum Routes {
    One(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Servers {
    /// A single server.
    pub fn one(server: Server) -> Self {
        let opened = Arc::<Notify>::default();
        Servers {
            address: server.address().clone(),
            deadline: server.deadline(),
            routes: Routes::One(Arc::new(Node::new(server, opened.clone()))),
            opened,
        }
    }

    /// A cluster; `server` makes the client of one of its servers.
    pub fn cluster(
        address: Arc<str>,
        deadline: Duration,
        seeds: Vec<Address>,
        server: impl Fn(&Address) -> Server + Send + Sync + 'static,
    ) -> Self {
        let opened = Arc::<Notify>::default();
        let node = {
            let opened = opened.clone();
            move |address: &Address| Arc::new(Node::new(server(address), opened.clone()))
        };
        Servers {
            address,
            deadline,
            routes: Routes::Cluster(Box::new(Cluster::new(seeds, node))),
            opened,
        }
    }

    /// The address for errors and logs, without secrets.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.routes, Routes::Cluster(_))
    }

    /// Waits until a connection to any server is opened.
    pub async fn opened(&self) {
        self.opened.notified().await;
    }

    // Slots.

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        match self.routes {
            Routes::One(_) => 0,
            Routes::Cluster(_) => slot_of(key),
        }
    }

    /// Calls with keys of the same slot as this one.
    pub fn link(self: &Arc<Self>, key: &str) -> Link {
        Link::to_slot(self.clone(), self.slot(key))
    }

    /// Calls without keys, for each primary.
    pub async fn all(self: &Arc<Self>) -> RedisResult<Vec<Link>> {
        let nodes = match &self.routes {
            Routes::One(node) => vec![node.clone()],
            Routes::Cluster(cluster) => {
                cluster.refresh().await?;
                cluster.primaries()
            }
        };
        let link = |node| Link::to_node(self.clone(), node);
        Ok(nodes.into_iter().map(link).collect())
    }

    /// The server that has a slot. Of a cluster whose servers may have changed, it is asked for; `None` if no server has it.
    pub async fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        match &self.routes {
            Routes::One(node) => Some(node.clone()),
            Routes::Cluster(cluster) => cluster.owner(slot).await,
        }
    }

    /// The server that has a slot, as far as known; any server if no one has it.
    pub fn known_owner(&self, slot: u16) -> Arc<Node> {
        match &self.routes {
            Routes::One(node) => node.clone(),
            Routes::Cluster(cluster) => cluster.known_owner(slot).unwrap_or_else(|| cluster.any()),
        }
    }

    // What calls find out.

    /// Notes that a server has failed: another one may have its slots.
    pub fn suspect(&self) {
        if let Routes::Cluster(cluster) = &self.routes {
            cluster.suspect();
        }
    }

    /// Notes that a slot has moved to the server at this address, by the answer of another one.
    pub fn moved(&self, slot: u16, to: Address) {
        if let Routes::Cluster(cluster) = &self.routes {
            cluster.moved(slot, to);
        }
    }

    /// The server at an address.
    pub fn at(&self, address: &Address) -> Arc<Node> {
        match &self.routes {
            Routes::One(node) => node.clone(),
            Routes::Cluster(cluster) => cluster.at(address),
        }
    }

    /// Declares the connections of all servers the first ones.
    pub fn begin(&self) {
        match &self.routes {
            Routes::One(node) => node.begin(),
            Routes::Cluster(cluster) => cluster.primaries().iter().for_each(|node| node.begin()),
        }
    }

    /// Ends a read that blocks.
    pub async fn unblock(&self, reader: &ReaderId) {
        let node = match &self.routes {
            Routes::One(node) => Some(node.clone()),
            Routes::Cluster(cluster) => cluster.with_name(&reader.server),
        };
        if let Some(node) = node {
            node.unblock(reader.number).await;
        }
    }
}
