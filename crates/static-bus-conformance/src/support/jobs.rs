//! Messages, handlers that report their calls, and workers that run them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{AT_ONCE, must, within};
use static_bus::asynchronous::{AsyncExecuteCommand, BusError};
use static_bus::prelude::*;
use static_bus_remote::{
    DeadLetter, DeadLetters, RemoteBus, RetryPolicy, Transport, Worker, WorkerHandle,
};

/// A command with an ordering key.
#[derive(Serialize, Deserialize)]
pub struct Job {
    pub key: u32,
    pub number: u32,
}
command!(Job, name = "conformance.job", key = key);

/// An event with an ordering key.
#[derive(Serialize, Deserialize)]
pub struct Happened {
    pub key: u32,
    pub number: u32,
}
event!(Happened, name = "conformance.happened", key = key);

/// A query.
#[derive(Serialize, Deserialize)]
pub struct Ask {
    pub key: u32,
    pub number: u32,
}
query!(Ask -> u32, name = "conformance.ask");

/// A query that no worker serves.
#[derive(Serialize, Deserialize)]
pub struct Stranger {
    pub key: u32,
    pub number: u32,
}
query!(Stranger -> u32, name = "conformance.stranger");

pub type Reporter<T> = mpsc::UnboundedSender<T>;

/// The reports of handlers.
pub struct Reports<T>(mpsc::UnboundedReceiver<T>);

pub fn report_channel<T>() -> (Reporter<T>, Reports<T>) {
    let (reporter, reports) = mpsc::unbounded_channel();
    (reporter, Reports(reports))
}

impl<T> Reports<T> {
    /// Waits for the next report. `what` names it if it does not come.
    pub async fn next(&mut self, what: &str) -> T {
        let report = within(what, self.0.recv()).await;
        report.unwrap_or_else(|| panic!("{what}: all handlers are dropped"))
    }

    pub async fn take(&mut self, what: &str, count: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.push(self.next(what).await);
        }
        taken
    }

    /// The reports that are there already.
    pub fn rest(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// A bus whose handler of [`Job`] reports the job, and then calls `then`.
pub fn job_bus<F, Done>(
    reporter: Reporter<(u32, u32)>,
    then: F,
) -> impl AsyncExecuteCommand<Job> + Send + 'static
where
    F: Fn(Job) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<(), BusError>> + Send + 'static,
{
    BusBuilder::new()
        .register_command_async_fn(move |job: Job| {
            let _ = reporter.send((job.key, job.number));
            then(job)
        })
        .build()
}

/// Starts a worker for jobs, with quick retries. `change` may change its settings.
pub async fn job_worker<T: Transport, B>(
    transport: T,
    bus: B,
    change: impl FnOnce(Worker<T, B>) -> Worker<T, B>,
) -> WorkerHandle<T>
where
    B: AsyncExecuteCommand<Job> + Send + Sync + 'static,
{
    let worker = Worker::new(transport, bus)
        .command::<Job>()
        .retries(quick(5));
    must("a worker starts", change(worker).start()).await
}

/// Retries with short delays.
pub fn quick(attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts: attempts,
        initial_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(200),
    }
}

pub async fn client<T: Transport>(transport: T) -> RemoteBus<T> {
    let connecting = RemoteBus::builder(transport).timeout(AT_ONCE).connect();
    must("a client connects", connecting).await
}

pub async fn execute<T: Transport>(bus: &RemoteBus<T>, jobs: impl IntoIterator<Item = (u32, u32)>) {
    let jobs = jobs.into_iter().map(|(key, number)| Job { key, number });
    let sent = within("commands", bus.execute_many(jobs)).await;
    sent.unwrap_or_else(|error| panic!("commands: {error}"));
}

pub async fn dead_letters<T: Transport>(transport: &T) -> Vec<DeadLetter> {
    let dead = DeadLetters::of(transport.clone());
    must("dead letters", dead.list(None, 1_000)).await
}

/// Waits until there are at least `count` dead letters.
pub async fn wait_for_dead_letters<T: Transport>(transport: &T, count: usize) -> Vec<DeadLetter> {
    within("the dead letters are there", async {
        loop {
            let letters = dead_letters(transport).await;
            if letters.len() >= count {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
