//! Values that are made once for each message.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

use super::transport::Kind;
use static_bus::message::Message;

/// A value for each kind and name of a message, made when it is first needed.
pub(crate) struct PerMessage<T>(RwLock<HashMap<(Kind, &'static str), Arc<T>>>);

impl<T> Default for PerMessage<T> {
    fn default() -> Self {
        PerMessage(RwLock::default())
    }
}

impl<T> PerMessage<T> {
    /// The value of message `M`.
    pub(crate) fn get<M: Message>(&self, kind: Kind, make: impl FnOnce() -> T) -> Arc<T> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(&(kind, M::NAME)) {
            return value.clone();
        }
        drop(values);
        // Code of the user, without the lock. Of two that are made at the same time, the first is kept.
        let made = Arc::new(make());
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        values.entry((kind, M::NAME)).or_insert(made).clone()
    }
}
