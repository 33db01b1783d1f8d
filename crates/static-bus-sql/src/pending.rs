//! Calls that end though the future that waits for them is dropped.

use std::collections::VecDeque;

use static_bus_remote::transport::TransportError;
use tokio::task::JoinHandle;

use super::{dialect::Dialect, store::Store};

/// A call that takes items from the database, and items that were taken for a future that was dropped.
pub(crate) struct Pending<T> {
    call: Option<JoinHandle<Result<Vec<T>, TransportError>>>,
    taken: VecDeque<T>,
}

impl<T: Send + 'static> Pending<T> {
    pub fn new() -> Self {
        Pending {
            call: None,
            taken: VecDeque::new(),
        }
    }

    /// Up to `max` items: those that were taken before, or those of a call. Cancel safe.
    pub async fn take<D: Dialect, F>(
        &mut self,
        store: &Store<D>,
        max: usize,
        call: impl FnOnce() -> F,
    ) -> Result<Vec<T>, TransportError>
    where
        F: Future<Output = Result<Vec<T>, TransportError>> + Send + 'static,
    {
        if max > 0 && self.taken.is_empty() {
            self.call.get_or_insert_with(|| tokio::spawn(call()));
            self.finish(store).await?;
        }
        let taken = self.taken.len().min(max);
        Ok(self.taken.drain(..taken).collect())
    }

    /// Waits for the end of a call that is under way. Cancel safe.
    async fn finish<D: Dialect>(&mut self, store: &Store<D>) -> Result<(), TransportError> {
        let Some(call) = &mut self.call else {
            return Ok(());
        };
        let result = call.await;
        self.call = None;
        self.taken.extend(store.joined(result)?);
        Ok(())
    }

    /// All items that were taken and not returned.
    pub async fn rest<D: Dialect>(
        &mut self,
        store: &Store<D>,
    ) -> Result<VecDeque<T>, TransportError> {
        self.finish(store).await?;
        Ok(std::mem::take(&mut self.taken))
    }
}
