//! The receivers of queries, as senders see them: a key that receivers renew, and that expires when the last one has been
//! gone for the grace time.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use redis::{Cmd, cmd};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::link::Link;
use static_bus_remote::{
    lock::lock,
    time::{later, millis},
    transport::TransportError,
};

/// The longest pause after a renewal that failed. The call itself waits for the server.
const RETRY: Duration = Duration::from_millis(50);

/// The presence of a receiver, until it is left or dropped.
pub(super) struct Presence {
    link: Link,
    renewal: Cmd,
    renewing: JoinSet<()>,
}

impl Presence {
    /// Announces a receiver.
    pub async fn enter(link: Link, key: &str, grace: Duration) -> Result<Self, TransportError> {
        let mut renewal = cmd("SET");
        renewal
            .arg(key)
            .arg("1")
            .arg("PX")
            .arg(millis(grace).max(1));
        link.send(&renewal).await?;
        let mut renewing = JoinSet::new();
        renewing.spawn({
            let (link, renewal) = (link.clone(), renewal.clone());
            // Often: without its data, the server knows no receiver until the next renewal.
            let interval = (grace / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
            async move {
                let mut pause = interval;
                loop {
                    // On a new connection at once: an outage may have been longer than the grace time.
                    let _ = timeout(pause, link.servers().opened()).await;
                    pause = match link.send(&renewal).await {
                        Ok(_) => interval,
                        Err(_) => interval.min(RETRY),
                    };
                }
            }
        });
        Ok(Presence {
            link,
            renewal,
            renewing,
        })
    }

    /// Ends the presence. The grace time begins.
    pub async fn leave(&mut self) {
        self.renewing.shutdown().await;
        let limit = self.link.server().farewell();
        // If this fails, the grace time began with the last renewal.
        let _ = timeout(limit, self.link.send(&self.renewal)).await;
    }
}

/// What this process has seen of the presence of receivers. If a key is missing earlier than it would have expired, the
/// server has lost its data, and nothing is known.
#[derive(Default)]
pub(super) struct Presences(Mutex<HashMap<String, Instant>>);

impl Presences {
    /// Notes that a key expires in this time.
    pub fn saw(&self, key: &str, expires: Duration) {
        let end = later(Instant::now(), expires);
        let mut ends = lock(&self.0);
        match ends.get_mut(key) {
            Some(known) => *known = end,
            None => _ = ends.insert(key.to_owned(), end),
        }
    }

    /// Returns whether a key has not expired yet. If it is missing, it was lost with the data of the server.
    pub fn is_known(&self, key: &str) -> bool {
        let mut ends = lock(&self.0);
        match ends.get(key) {
            Some(end) if *end > Instant::now() => true,
            Some(_) => {
                ends.remove(key);
                false
            }
            None => false,
        }
    }
}
