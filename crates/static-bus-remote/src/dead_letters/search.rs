//! A pass over the dead letters.

use super::{DeadLetter, DeadLetterFilter, DeadLetters, PAGE};
use crate::{Transport, TransportError};

/// One pass over the dead letters that match a filter, in pages: [`DeadLetters::search`].
///
/// Each dead letter is read once, however many match. Dead letters of a page may be replayed or discarded before the
/// next page is read.
#[derive(Debug)]
pub struct DeadLetterSearch<'d, T> {
    letters: &'d DeadLetters<T>,
    filter: DeadLetterFilter,
    after: Option<String>,
    until: Option<String>,
    /// The number of dead letters that are read next.
    page: usize,
    is_over: bool,
}

impl<'d, T: Transport> DeadLetterSearch<'d, T> {
    pub(super) fn new(letters: &'d DeadLetters<T>, filter: DeadLetterFilter) -> Self {
        DeadLetterSearch {
            letters,
            filter,
            after: None,
            until: None,
            page: PAGE,
            is_over: false,
        }
    }

    /// Begins after this position.
    #[must_use]
    pub fn after(mut self, position: impl Into<String>) -> Self {
        self.after = Some(position.into());
        self
    }

    /// Ends with this position: later dead letters do not match.
    #[must_use]
    pub fn until(mut self, position: impl Into<String>) -> Self {
        self.until = Some(position.into());
        self
    }

    /// Begins with a page of this size. Each further one has twice the size of the one before, up to [`PAGE`].
    pub(super) fn set_page(&mut self, size: usize) {
        self.page = size.min(PAGE);
    }

    /// The next dead letters that match, the oldest first: at least one and at most 1000. `None` after the last one.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses. The next call reads the same page again.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, TransportError> {
        while !self.is_over {
            let mut page = self.letters.list(self.after.as_deref(), self.page).await?;
            let Some(last) = page.last() else { break };
            self.after = Some(last.position.clone());
            self.page = (2 * self.page).min(PAGE);
            if let Some(until) = &self.until {
                self.is_over = last.position >= *until;
                page.retain(|letter| letter.position <= *until);
            }
            page.retain(|letter| self.filter.matches(letter));
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        self.is_over = true;
        Ok(None)
    }
}
