//! Headers that a program sets.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{Envelope, Headers, envelope::is_reserved};

/// The headers that a client adds to its messages.
#[derive(Clone, Default)]
pub(super) struct Custom(Option<Arc<[Header]>>);
type Header = (Arc<str>, Arc<str>);

impl Custom {
    /// # Errors
    /// When no header can have this name.
    pub(super) fn with(&self, name: &str, value: Arc<str>) -> Result<Self, HeaderError> {
        check(name)?;
        let others = self.0.iter().flat_map(|headers| headers.iter());
        let others = others.filter(|(other, _)| **other != *name).cloned();
        Ok(Custom(Some(others.chain([(name.into(), value)]).collect())))
    }

    pub(super) fn add_to<'a>(&'a self, envelope: &mut Envelope<'a>) {
        let headers = self.0.iter().flat_map(|headers| headers.iter());
        let headers =
            headers.map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value)));
        envelope.custom.extend(headers);
    }
}

/// # Errors
/// When no header can have this name.
pub(crate) fn check(name: &str) -> Result<(), HeaderError> {
    let reason = if !Headers::is_name(name) {
        Reason::Characters
    } else if is_reserved(name) {
        Reason::Reserved
    } else {
        return Ok(());
    };
    let name = name.to_owned();
    Err(HeaderError { name, reason })
}

/// The name of a header that no header can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderError {
    name: String,
    reason: Reason,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Characters,
    Reserved,
}
impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Characters => "a name is lower-case letters `a` to `z` and digits",
            Reason::Reserved => {
                "it is an attribute of CloudEvents or of static-bus, choose another"
            }
        };
        write!(
            f,
            "`{}` cannot be the name of a header: {reason}",
            self.name
        )
    }
}
impl std::error::Error for HeaderError {}
