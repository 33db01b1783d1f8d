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
pub(super) struct Presences(Mutex<HashMap<String, Seen>>);

/// The time at which a key was last seen, and that at which it would have expired.
struct Seen {
    at: Instant,
    end: Instant,
}

impl Presences {
    /// Notes that a key expires in this time.
    pub fn saw(&self, key: &str, expires: Duration) {
        let at = Instant::now();
        let end = later(at, expires);
        lock(&self.0).insert(key.to_owned(), Seen { at, end });
    }

    /// Returns whether a key has not expired yet. If it is missing, it was lost with the data of the server.
    pub fn is_known(&self, key: &str) -> bool {
        let mut keys = lock(&self.0);
        match keys.get(key) {
            Some(seen) if seen.end > Instant::now() => true,
            Some(_) => {
                keys.remove(key);
                false
            }
            None => false,
        }
    }

    /// Returns whether a key is to be looked at again: more than half of the time until its end is over.
    pub fn is_stale(&self, key: &str) -> bool {
        let now = Instant::now();
        let keys = lock(&self.0);
        let is_fresh = |seen: &Seen| now - seen.at < seen.end - now;
        !keys.get(key).is_some_and(is_fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::Presences;

    #[tokio::test(start_paused = true)]
    async fn a_presence_is_looked_at_again_in_the_second_half_of_its_time() {
        let presences = Presences::default();
        let state = || (presences.is_known("q"), presences.is_stale("q"));
        assert_eq!(state(), (false, true));
        presences.saw("q", Duration::from_secs(4));
        assert_eq!(state(), (true, false));
        advance(Duration::from_secs(2)).await;
        assert_eq!(state(), (true, true));
        presences.saw("q", Duration::from_secs(4));
        assert_eq!(state(), (true, false));
        advance(Duration::from_secs(4)).await;
        assert_eq!(state(), (false, true));
    }
}
