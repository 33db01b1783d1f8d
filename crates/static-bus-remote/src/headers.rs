//! The attributes of a record, in the form in which they travel.

use std::{borrow::Cow, fmt, ops::Range};

/// Attributes of a record: names with values, in the order in which they were added.
///
/// They are kept as text, one `name: value` to a line: most records are written once and sent. A name is
/// lower-case ASCII letters and digits; a value is any text, with `%`, carriage return and line feed escaped as
/// `%25`, `%0D` and `%0A`.
///
/// ```
/// use static_bus_remote::Headers;
///
/// let mut headers = Headers::default();
/// headers.push("type", "orders.place");
/// headers.push("note", "100 %\nsure");
/// assert_eq!(headers.as_str(), "type: orders.place\nnote: 100 %25%0Asure\n");
/// assert_eq!(headers.get("note").as_deref(), Some("100 %\nsure"));
/// assert_eq!(Headers::parse(headers.as_str().to_owned()).unwrap(), headers);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(String);

impl Headers {
    /// No attributes, with capacity for this many bytes of text.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Headers(String::with_capacity(bytes))
    }

    /// Attributes in the form in which they travel, unchecked.
    #[doc(hidden)]
    pub fn from_raw(text: String) -> Self {
        Headers(text)
    }

    /// Returns `true` if an attribute can have this name.
    #[doc(hidden)]
    pub fn is_name(name: &str) -> bool {
        is_name(name)
    }

    /// The attributes with other names.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let other = |line: &&str| !attribute(line).is_some_and(|(n, _)| names.contains(&n));
        Headers(self.0.split_inclusive('\n').filter(other).collect())
    }

    /// Adds an attribute.
    ///
    /// # Panics
    /// If the name is empty or has characters other than `a` to `z` and `0` to `9`.
    pub fn push(&mut self, name: &str, value: &str) {
        assert!(
            is_name(name),
            "an attribute's name is lower-case letters and digits: {name:?}"
        );
        self.0.push_str(name);
        self.0.push_str(": ");
        let mut rest = value;
        while let Some(at) = memchr::memchr3(b'%', b'\r', b'\n', rest.as_bytes()) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(match rest.as_bytes()[at] {
                b'%' => "%25",
                b'\r' => "%0D",
                _ => "%0A",
            });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        self.0.push('\n');
    }

    /// The value of the first attribute of this name.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// All attributes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.positions()
            .map(|(name, position)| (name, self.value(position)))
    }

    /// The name of each attribute, and the position of its value.
    fn positions(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        lines(&self.0).filter_map(|(start, line)| {
            let (name, value) = attribute(line)?;
            let end = start + line.len();
            Some((name, end - value.len()..end))
        })
    }

    /// The positions of the values of these attributes, of the last one of each name.
    pub(crate) fn positions_of<const N: usize>(
        &self,
        names: &[&str; N],
    ) -> [Option<Range<usize>>; N] {
        let mut positions = [const { None }; N];
        for (name, position) in self.positions() {
            if let Some(at) = names.iter().position(|known| *known == name) {
                positions[at] = Some(position);
            }
        }
        positions
    }

    /// The value at this position.
    pub(crate) fn value(&self, position: Range<usize>) -> Cow<'_, str> {
        unescape(&self.0[position])
    }

    /// All attributes, in the form in which they travel.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Attributes in the form in which they travel.
    ///
    /// # Errors
    /// The text itself, when a line is not `name: value`.
    pub fn parse(text: String) -> Result<Self, String> {
        let fits = |(_, line)| attribute(line).is_some_and(|(name, _)| is_name(name));
        let ends = text.is_empty() || text.ends_with('\n');
        if ends && lines(&text).all(fits) {
            Ok(Headers(text))
        } else {
            Err(text)
        }
    }
}

/// The lines of a text and the positions at which they start.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..)?;
        let end = memchr::memchr(b'\n', rest.as_bytes());
        let line = (start, &rest[..end.unwrap_or(rest.len())]);
        start += line.1.len() + 1;
        (end.is_some() || !line.1.is_empty()).then_some(line)
    })
}

/// The name and the value in a line.
fn attribute(line: &str) -> Option<(&str, &str)> {
    // A name is short and has no colon.
    let end = line.bytes().position(|byte| byte == b':')?;
    Some((&line[..end], line[end + 1..].strip_prefix(' ')?))
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !name.is_empty() && name.bytes().all(fits)
}

fn unescape(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    // `%25` last, or an escaped `%0A` would become a line feed.
    Cow::Owned(
        value
            .replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%25", "%"),
    )
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(attributes: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in attributes {
            headers.push(name, value);
        }
        headers
    }
}
