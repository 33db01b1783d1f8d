//! The query of a page and the fields of a form: all of them text, empty if they are missing.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::args::{Filter, duration};

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Input {
    pub message: String,
    pub group: String,
    pub error: String,
    pub older_than: String,
    pub younger_than: String,
    /// The position after which a list begins.
    pub after: String,
    /// The position of a dead letter.
    pub position: String,
    /// `replay` or `discard`.
    pub action: String,
    /// The number of dead letters that were confirmed.
    pub number: String,
    /// The position of the last dead letter that was confirmed: later ones are left.
    pub until: String,
    pub token: String,
    /// The number of dead letters that were just replayed.
    pub replayed: String,
    /// The number of dead letters that were just discarded.
    pub discarded: String,
    /// `off` stops the page from being loaded again and again.
    pub refresh: String,
}

impl Input {
    /// The conditions, each with its name, label and example.
    pub fn conditions(&self) -> [(&'static str, &'static str, &'static str, &str); 5] {
        [
            ("message", "Message", "orders.place", &self.message),
            ("group", "Group", "handlers", &self.group),
            ("error", "Error contains", "timeout", &self.error),
            ("older_than", "Older than", "1h", &self.older_than),
            ("younger_than", "Younger than", "2d", &self.younger_than),
        ]
    }

    /// The filter of the conditions.
    ///
    /// # Errors
    /// The name of the condition that is no duration, and the remedy.
    pub fn filter(&self) -> Result<Filter, String> {
        let text = |text: &str| {
            Some(text.trim())
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
        };
        let age = |name: &str, value: &str| match text(value) {
            Some(value) => duration(&value)
                .map(Some)
                .map_err(|e| format!("{name}: {e}")),
            None => Ok(None),
        };
        Ok(Filter {
            message: text(&self.message),
            group: text(&self.group),
            error: text(&self.error),
            older_than: age("Older than", &self.older_than)?,
            younger_than: age("Younger than", &self.younger_than)?,
        })
    }

    /// The address of a page with the conditions, and with further fields.
    pub fn link(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let conditions = self.conditions();
        let conditions = conditions.iter().map(|(name, _, _, value)| (*name, *value));
        link(path, conditions.chain(fields.iter().copied()))
    }
}

/// The address of a page with the fields that are not empty.
pub fn link<'f>(path: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let mut link = path.to_owned();
    let mut separator = '?';
    for (name, value) in fields {
        if !value.is_empty() {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            link.push_str(&format!("{separator}{name}={value}"));
            separator = '&';
        }
    }
    link
}
