//! A simulated process.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use super::broker::SimBroker;
use crate::lock::lock;

/// The time until a process whose start failed is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// One life of a process, from a start to a kill.
pub(super) struct Process {
    name: Arc<str>,
    /// 1 for the first life.
    life: u32,
    /// Calls fail until this time.
    cut_off_until: Mutex<Instant>,
    /// The time for which it stays down, when it is killed.
    killed: watch::Sender<Option<Duration>>,
}

impl Process {
    pub fn new(name: Arc<str>, life: u32) -> Arc<Self> {
        Arc::new(Process {
            name,
            life,
            cut_off_until: Mutex::new(Instant::now()),
            killed: watch::Sender::new(None),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_killed(&self) -> bool {
        self.killed.borrow().is_some()
    }

    /// Its tasks are dropped when its supervisor runs, at the same simulated time.
    pub fn kill(&self, down: Duration) {
        self.killed.send_replace(Some(down));
    }

    /// Returns the time until which it is cut off.
    pub fn cut_off(&self, time: Duration) -> Instant {
        let mut until = lock(&self.cut_off_until);
        *until = (*until).max(Instant::now() + time);
        *until
    }

    pub fn is_cut_off(&self) -> bool {
        *lock(&self.cut_off_until) > Instant::now()
    }

    /// Waits until it is killed. Returns the time for which it stays down.
    async fn killed(&self) -> Duration {
        let mut killed = self.killed.subscribe();
        let killed = killed.wait_for(Option::is_some).await;
        killed.ok().and_then(|down| *down).unwrap_or_default()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.life {
            1 => Ok(()),
            life => write!(f, " (start {life})"),
        }
    }
}

/// Starts a process, and starts it again when it has been killed. Tells the result of the first start.
pub(super) async fn supervise<R: Send, E: fmt::Display + Send, S>(
    sim: SimBroker,
    name: Arc<str>,
    start: impl Fn(SimBroker) -> S + Send,
    started: oneshot::Sender<Result<(), E>>,
) where
    S: Future<Output = Result<R, E>> + Send,
{
    let mut started = Some(started);
    for life in 1.. {
        let process = Process::new(name.clone(), life);
        let broker = sim.of(process.clone());
        let starting = start(broker.clone());
        let running = tokio::select! {
            biased;
            _ = process.killed() => None,
            result = starting => Some(result),
        };
        let down = match running {
            None => process.killed().await,
            Some(Ok(running)) => {
                broker.note(format_args!("has started"));
                if let Some(started) = started.take() {
                    _ = started.send(Ok(()));
                }
                sim.set_up(true);
                let down = process.killed().await;
                sim.set_up(false);
                drop(running);
                down
            }
            Some(Err(error)) => {
                if let Some(started) = started.take() {
                    _ = started.send(Err(error));
                    return sim.set_up(true);
                }
                broker.note(format_args!("does not start: {error}"));
                // What is left of it makes no more calls.
                process.kill(AGAIN);
                AGAIN
            }
        };
        sleep(down).await;
    }
}
