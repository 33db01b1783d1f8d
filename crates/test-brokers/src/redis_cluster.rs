//! Redis Clusters on this machine, run by the installed `redis-server`.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    free_port,
    redis::{Persistence, Redis, RedisOptions},
};

/// The number of primaries with slots.
const PRIMARIES: usize = 3;
/// The number of slots.
const SLOTS: usize = 16384;
/// The limit of anything on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A cluster, whose servers are stopped when this is dropped. A primary that does not answer for two seconds is replaced.
pub struct RedisCluster {
    /// The primaries with slots, then a replica of each, or a primary without slots.
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// A cluster of three primaries.
    pub fn start(persistence: Persistence) -> Self {
        RedisCluster::with(persistence, 3)
    }

    /// A cluster of three primaries, and a fourth one without slots.
    pub fn with_spare() -> Self {
        RedisCluster::with(Persistence::None, 4)
    }

    /// A cluster of three primaries with a replica each.
    pub fn with_replicas() -> Self {
        let cluster = RedisCluster::with(Persistence::None, 6);
        let (primaries, replicas) = cluster.nodes.split_at(PRIMARIES);
        for (primary, replica) in primaries.iter().zip(replicas) {
            ok(replica, &["CLUSTER", "REPLICATE", &id(primary)]);
        }
        for replica in replicas {
            until("a replica has its data", || {
                let info = replica.command(&["INFO", "replication"]);
                info.contains("master_link_status:up")
            });
        }
        // The primaries know their replicas too.
        for primary in primaries {
            until("a primary is known with its replica", || {
                let slots = primary.command(&["CLUSTER", "SLOTS"]);
                replicas
                    .iter()
                    .all(|r| slots.contains(&format!(":{}\r\n", r.port())))
            });
        }
        cluster
    }

    fn with(persistence: Persistence, number: usize) -> Self {
        let node = |_| {
            let bus = free_port();
            // A primary that gives its last slot away stays a primary.
            let arguments = format!(
                "--cluster-enabled yes --cluster-config-file nodes.conf --cluster-node-timeout 2000 --cluster-port {bus} \
                 --cluster-allow-replica-migration no --repl-diskless-sync-delay 0"
            );
            let options = RedisOptions {
                persistence,
                arguments: arguments.split(' ').map(str::to_owned).collect(),
                ..RedisOptions::default()
            };
            (Redis::with(options), bus)
        };
        let nodes: Vec<_> = (0..number).map(node).collect();
        for (number, (node, _)) in nodes.iter().enumerate() {
            ok(
                node,
                &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()],
            );
            if number < PRIMARIES {
                let first = (number * SLOTS / PRIMARIES).to_string();
                let last = ((number + 1) * SLOTS / PRIMARIES - 1).to_string();
                ok(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
        }
        let (first, _) = &nodes[0];
        for (node, bus) in &nodes[1..] {
            let (port, bus) = (node.port().to_string(), bus.to_string());
            ok(first, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let nodes: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
        let cluster = RedisCluster { nodes };
        cluster.wait_for(&format!("cluster_known_nodes:{number}"));
        cluster.wait_for("cluster_state:ok");
        cluster
    }

    /// The URL, with the first two nodes.
    pub fn url(&self) -> String {
        let hosts = self.nodes[..2].iter().map(Redis::host_and_port);
        format!("redis-cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// The nodes: the primaries, and then a replica of each, or a primary without slots.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    pub fn node_mut(&mut self, number: usize) -> &mut Redis {
        &mut self.nodes[number]
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> usize {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]);
        let slot = slot.trim().strip_prefix(':').map(str::parse);
        slot.expect("a number").expect("a number")
    }

    /// The number of the first primary that has the slot of a key at the start.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        (0..PRIMARIES)
            .find(|n| slot < (n + 1) * SLOTS / PRIMARIES)
            .expect("a slot of the cluster")
    }

    /// Kills all nodes, and starts them again with their data.
    pub fn restart(&mut self) {
        self.nodes.iter_mut().for_each(Redis::kill);
        self.nodes.iter_mut().for_each(Redis::launch);
        self.wait_for("cluster_state:ok");
    }

    /// Begins to move a slot.
    pub fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let slot = slot.to_string();
        ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    }

    /// Moves up to this number of keys of a slot. Returns the number of those that it moved.
    pub fn move_keys(&self, slot: usize, from: usize, to: usize, count: usize) -> usize {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (slot, count) = (slot.to_string(), count.to_string());
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        let is_key = |line: &&str| !line.starts_with(['*', '$']);
        let keys: Vec<_> = keys.lines().filter(is_key).collect();
        if !keys.is_empty() {
            let port = to.port().to_string();
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
            let moved = from.command(&[&head[..], &keys].concat());
            // A key may have expired meanwhile.
            assert!(moved == "+OK\r\n" || moved == "+NOKEY\r\n", "{moved}");
        }
        keys.len()
    }

    /// Ends the move of a slot without keys.
    pub fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), id(&self.nodes[to]));
        for node in [to, from] {
            ok(
                &self.nodes[node],
                &["CLUSTER", "SETSLOT", &slot, "NODE", &id],
            );
        }
    }

    /// Moves a slot with its keys.
    pub fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_keys(slot, from, to, 3) > 0 {}
        self.end_move(slot, from, to);
    }

    /// Waits until `CLUSTER INFO` of each node has this line.
    pub fn wait_for(&self, line: &str) {
        for node in &self.nodes {
            until(line, || node.command(&["CLUSTER", "INFO"]).contains(line));
        }
    }
}

fn ok(node: &Redis, words: &[&str]) {
    assert_eq!(node.command(words), "+OK\r\n", "{words:?}");
}

/// The name of a node in its cluster.
fn id(node: &Redis) -> String {
    let id = node.command(&["CLUSTER", "MYID"]);
    id.lines().nth(1).expect("a bulk string").to_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
