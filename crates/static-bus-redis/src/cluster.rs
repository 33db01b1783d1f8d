//! The nodes of a cluster.

mod slots;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::select_ok;
use redis::RedisResult;
use tokio::time::{Instant, timeout};

use self::slots::Slots;
use super::{node::Node, server::late};
use static_bus_remote::lock::lock;

pub(super) use self::slots::{no_node, slot_of};

/// The shortest time between two questions for the slots.
const PAUSE: Duration = Duration::from_millis(100);

/// The host and the port of a server.
pub(super) type Address = (Arc<str>, u16);

/// The nodes of a cluster.
pub(super) struct Cluster {
    /// The servers of the URL.
    seeds: Vec<Address>,
    node: Box<dyn Fn(&Address) -> Arc<Node> + Send + Sync>,
    topology: Mutex<Topology>,
    /// Held by the call that asks for the slots.
    refreshing: tokio::sync::Mutex<()>,
}

struct Topology {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Slots,
    /// The servers that slots have moved to since they were last asked for.
    moved: HashMap<u16, Address>,
    /// `true` if a server has failed since.
    is_stale: bool,
    refreshed: Option<Instant>,
}

impl Cluster {
    pub fn new(
        seeds: Vec<Address>,
        node: impl Fn(&Address) -> Arc<Node> + Send + Sync + 'static,
    ) -> Self {
        let topology = Topology {
            nodes: HashMap::new(),
            slots: Slots::default(),
            moved: HashMap::new(),
            is_stale: true,
            refreshed: None,
        };
        Cluster {
            seeds,
            node: Box::new(node),
            topology: Mutex::new(topology),
            refreshing: tokio::sync::Mutex::new(()),
        }
    }

    fn topology(&self) -> MutexGuard<'_, Topology> {
        lock(&self.topology)
    }

    /// The node at an address.
    pub fn at(&self, address: &Address) -> Arc<Node> {
        let nodes = &mut self.topology().nodes;
        let node = nodes.entry(address.clone());
        node.or_insert_with(|| (self.node)(address)).clone()
    }

    /// The node with this address in errors.
    pub fn with_name(&self, name: &str) -> Option<Arc<Node>> {
        let topology = self.topology();
        let mut nodes = topology.nodes.values();
        nodes
            .find(|node| **node.server().address() == *name)
            .cloned()
    }

    /// A node of the URL.
    pub fn any(&self) -> Arc<Node> {
        self.at(&self.seeds[0])
    }

    /// The nodes that have slots.
    pub fn primaries(&self) -> Vec<Arc<Node>> {
        let addresses = self.topology().slots.addresses();
        addresses.iter().map(|address| self.at(address)).collect()
    }

    /// The node that has a slot, as far as known.
    pub fn known_owner(&self, slot: u16) -> Option<Arc<Node>> {
        let address = self.topology().owner(slot)?.clone();
        Some(self.at(&address))
    }

    /// The node that has a slot. If a node has failed, the others are asked first.
    pub async fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        if self.topology().is_to_be_refreshed() || self.known_owner(slot).is_none() {
            let _one_at_a_time = self.refreshing.lock().await;
            if self.topology().is_to_be_refreshed() {
                // If no node answers, the known ones are tried.
                let _ = self.ask().await;
            }
        }
        self.known_owner(slot)
    }

    /// Asks for the slots.
    pub async fn refresh(&self) -> RedisResult<()> {
        let _one_at_a_time = self.refreshing.lock().await;
        self.ask().await
    }

    async fn ask(&self) -> RedisResult<()> {
        let (primaries, replicas) = {
            let topology = self.topology();
            let primaries = topology.slots.addresses();
            (primaries, topology.slots.replicas.clone())
        };
        let mut asked = self.ask_first_of(&primaries).await;
        if asked.is_err() {
            let others = [&self.seeds[..], &replicas].concat();
            asked = self.ask_first_of(&others).await;
        }
        let mut topology = self.topology();
        topology.refreshed = Some(Instant::now());
        topology.install(asked?);
        Ok(())
    }

    /// The first answer of these nodes.
    async fn ask_first_of(&self, addresses: &[Address]) -> RedisResult<Slots> {
        let questions = addresses.iter().map(|address| {
            let node = self.at(address);
            Box::pin(async move {
                let limit = node.server().deadline() / 2;
                let asked = timeout(limit, Slots::of(&node, address)).await;
                asked.unwrap_or_else(|_| Err(late(limit)))
            })
        });
        let questions: Vec<_> = questions.collect();
        match questions.is_empty() {
            true => Err(no_node()),
            false => select_ok(questions).await.map(|(slots, _)| slots),
        }
    }

    /// Notes that a node has failed: another one may have its slots.
    pub fn suspect(&self) {
        self.topology().is_stale = true;
    }

    /// Notes that a slot has moved.
    pub fn moved(&self, slot: u16, to: Address) {
        self.topology().moved.insert(slot, to);
    }
}

impl Topology {
    fn owner(&self, slot: u16) -> Option<&Address> {
        let primaries = &self.slots.primaries;
        let owner = || primaries.iter().find(|(slots, _)| slots.contains(&slot));
        self.moved.get(&slot).or_else(|| Some(&owner()?.1))
    }

    fn is_to_be_refreshed(&self) -> bool {
        let is_recent = self.refreshed.is_some_and(|at| at.elapsed() < PAUSE);
        (self.is_stale || self.slots.primaries.is_empty()) && !is_recent
    }

    fn install(&mut self, slots: Slots) {
        self.slots = slots;
        self.moved.clear();
        self.is_stale = false;
        let primaries: HashSet<_> = self.slots.addresses().into_iter().collect();
        self.nodes.retain(|address, _| primaries.contains(address));
    }
}
