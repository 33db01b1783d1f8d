//! The events that have had subscribers.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

use static_bus_remote::{lock::lock, transport::Topic};

/// The time for which the subscribers of an event may create its stream again. After it the event has none.
pub(super) const RETURN: Duration = Duration::from_secs(60);

/// The events that have had a stream, and so subscribers, since this process began. If the stream of such an event
/// is missing, the server has lost it: a new event would be lost as well, until the subscribers are back.
#[derive(Default)]
pub(super) struct Audiences(Mutex<HashMap<Topic, Stream>>);

enum Stream {
    Exists,
    GoneSince(Instant),
}

impl Audiences {
    /// Notes whether the stream of an event existed when a record was appended. Returns whether it has vanished.
    pub fn has_vanished(&self, event: &Topic, exists: bool) -> bool {
        let mut streams = lock(&self.0);
        match (streams.get_mut(event), exists) {
            (Some(stream), true) => {
                *stream = Stream::Exists;
                false
            }
            (None, true) => {
                streams.insert(event.clone(), Stream::Exists);
                false
            }
            (None, false) => false,
            (Some(Stream::GoneSince(time)), false) if time.elapsed() > RETURN => {
                streams.remove(event);
                false
            }
            (Some(Stream::GoneSince(_)), false) => true,
            (Some(stream), false) => {
                *stream = Stream::GoneSince(Instant::now());
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use static_bus_remote::transport::{Kind, Topic};

    use super::{Audiences, RETURN};

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_existed_has_vanished_until_its_subscribers_had_the_time_to_return() {
        let event = Topic {
            kind: Kind::Event,
            name: "e".into(),
        };
        let audiences = Audiences::default();
        assert!(!audiences.has_vanished(&event, false), "it never had any");
        assert!(!audiences.has_vanished(&event, true));
        assert!(audiences.has_vanished(&event, false));
        tokio::time::advance(RETURN / 2).await;
        assert!(audiences.has_vanished(&event, false));
        assert!(!audiences.has_vanished(&event, true), "it is back");
        assert!(audiences.has_vanished(&event, false));
        tokio::time::advance(RETURN * 2).await;
        assert!(!audiences.has_vanished(&event, false), "they are gone");
        assert!(!audiences.has_vanished(&event, false));
    }
}
