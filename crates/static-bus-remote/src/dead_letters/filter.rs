//! The selection of dead letters.

use std::time::Duration;

use jiff::Timestamp;

use super::DeadLetter;

/// Conditions on dead letters. A dead letter matches if it meets all of them; without conditions, each matches.
///
/// ```
/// # use std::time::Duration;
/// use static_bus_remote::DeadLetterFilter;
///
/// let filter = DeadLetterFilter::default()
///     .message("orders.place")
///     .error("timeout")
///     .older_than(Duration::from_secs(3600));
/// # assert_ne!(filter, DeadLetterFilter::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    message: Option<String>,
    group: Option<String>,
    error: Option<String>,
    not_after: Option<Timestamp>,
    not_before: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Matches dead letters of this message: `orders.place`, or with its kind, `command orders.place`.
    #[must_use]
    pub fn message(mut self, name: impl Into<String>) -> Self {
        self.message = Some(name.into());
        self
    }

    /// Matches dead letters of this group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Matches dead letters whose error contains this text, in upper or lower case.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into().to_lowercase());
        self
    }

    /// Matches dead letters whose last failure was at least this long before this call.
    #[must_use]
    pub fn older_than(mut self, age: Duration) -> Self {
        self.not_after = Some(before_now(age));
        self
    }

    /// Matches dead letters whose last failure was at most this long before this call.
    #[must_use]
    pub fn younger_than(mut self, age: Duration) -> Self {
        self.not_before = Some(before_now(age));
        self
    }

    /// Returns `true` if a dead letter meets all conditions.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, meets: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(meets)
        };
        let name = letter.origin.split_once(' ').map(|(_, name)| name);
        is(&self.message, &|m| m == letter.origin || Some(m) == name)
            && is(&self.group, &|group| group == letter.group)
            && is(&self.error, &|text| {
                letter.error.to_lowercase().contains(text)
            })
            && self.is_in_time(letter)
    }

    fn is_in_time(&self, letter: &DeadLetter) -> bool {
        if (self.not_after, self.not_before) == (None, None) {
            return true;
        }
        let Ok(failed) = letter.last_failure.parse::<Timestamp>() else {
            return false;
        };
        self.not_after.is_none_or(|end| failed <= end)
            && self.not_before.is_none_or(|begin| begin <= failed)
    }
}

fn before_now(age: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
