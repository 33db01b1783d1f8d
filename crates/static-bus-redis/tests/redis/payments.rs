//! A service whose servers fail while it is paid.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, AsyncSendQuery},
    prelude::*,
};
use static_bus_redis::RedisTransport;
use static_bus_remote::{RemoteBus, Worker, WorkerHandle};
use tokio::{sync::mpsc, task::JoinSet};

use crate::support::*;

#[derive(Serialize, Deserialize)]
pub struct Pay {
    pub invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

#[derive(Serialize, Deserialize)]
pub struct GetTotal;
query!(GetTotal -> u32, name = "billing.total");

/// A worker, and what it has handled.
pub async fn serve(
    transport: RedisTransport,
) -> (WorkerHandle<RedisTransport>, mpsc::UnboundedReceiver<u32>) {
    let (tell, heard) = mpsc::unbounded_channel();
    let bus = BusBuilder::new()
        .register_command_fn(move |pay: Pay| tell.send(pay.invoice).unwrap())
        .register_query_fn(|_: GetTotal| 42)
        .build();
    let worker = Worker::new(transport, bus)
        .command::<Pay>()
        .query::<GetTotal>();
    (worker.start().await.unwrap(), heard)
}

/// Eight tasks that pay as fast as they can, until a payment fails. Each returns those that were confirmed.
pub fn pay_until_failure(remote: &RemoteBus<RedisTransport>) -> JoinSet<HashSet<u32>> {
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let remote = remote.clone();
        senders.spawn(async move {
            let mut confirmed = HashSet::new();
            for invoice in (sender..).step_by(8) {
                match remote.execute_async(Pay { invoice }).await {
                    Ok(()) => _ = confirmed.insert(invoice),
                    Err(_) => break,
                }
            }
            confirmed
        });
    }
    senders
}

/// Waits until all of these were handled.
pub async fn all_handled(
    confirmed: &HashSet<u32>,
    mut handled: HashSet<u32>,
    heard: &mut mpsc::UnboundedReceiver<u32>,
) {
    while !confirmed.is_subset(&handled) {
        let next = tokio::time::timeout(LONG, heard.recv()).await;
        let missing = || confirmed.difference(&handled).count();
        handled.insert(
            next.unwrap_or_else(|_| panic!("{} are missing", missing()))
                .unwrap(),
        );
    }
}

/// Waits until queries are answered and the worker is ready, and ends it.
pub async fn recovered(remote: &RemoteBus<RedisTransport>, worker: WorkerHandle<RedisTransport>) {
    eventually("queries are answered", async || {
        let total = remote.send_async(GetTotal).await;
        total.is_ok_and(|total| total == 42)
    })
    .await;
    eventually("the worker is ready", async || worker.health().await.ready).await;
    worker.shutdown(LONG).await;
}
