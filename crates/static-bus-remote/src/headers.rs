//! The attributes of a record, in the form in which they travel.

use std::{borrow::Cow, fmt, num::NonZeroU32};

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
    #[doc(hidden)]
    pub fn with_capacity(bytes: usize) -> Self {
        Headers(String::with_capacity(bytes))
    }

    /// Attributes in the form in which they travel, unchecked. The text is empty or ends with a line feed. Lines that are not
    /// `name: value` are ignored.
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
        self.push_valid(name, value);
    }

    /// Adds an attribute whose name is valid.
    #[doc(hidden)]
    pub fn push_valid(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push_str(": ");
        match contains_any(value, *b"%\r\n") {
            true => self.push_escaped(value),
            false => self.0.push_str(value),
        }
        self.0.push('\n');
    }

    fn push_escaped(&mut self, value: &str) {
        for part in value.split_inclusive(['%', '\r', '\n']) {
            let (text, escaped) = match part.as_bytes().last() {
                Some(b'%') => (&part[..part.len() - 1], "%25"),
                Some(b'\r') => (&part[..part.len() - 1], "%0D"),
                Some(b'\n') => (&part[..part.len() - 1], "%0A"),
                _ => (part, ""),
            };
            self.0.push_str(text);
            self.0.push_str(escaped);
        }
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
    fn positions(&self) -> impl Iterator<Item = (&str, Position)> {
        lines(&self.0).filter_map(|(start, line)| {
            let (name, value) = attribute(line)?;
            let end = start + line.len();
            Some((name, Position::new(end - value.len(), end)?))
        })
    }

    /// The positions of values, of the last one of each name. `number` returns the place of a name among them.
    pub(crate) fn positions_of<const N: usize>(
        &self,
        mut number: impl FnMut(&str) -> Option<usize>,
    ) -> [Option<Position>; N] {
        let mut positions = [None; N];
        for (name, position) in self.positions() {
            if let Some(at) = number(name) {
                positions[at] = Some(position);
            }
        }
        positions
    }

    /// The value at this position.
    pub(crate) fn value(&self, position: Position) -> Cow<'_, str> {
        unescape(&self.0[position.start.get() as usize..position.end as usize])
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

/// The position of a value in the text. A name precedes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    start: NonZeroU32,
    end: u32,
}

impl Position {
    /// `None` beyond 4 GiB.
    fn new(start: usize, end: usize) -> Option<Self> {
        let start = NonZeroU32::new(u32::try_from(start).ok()?)?;
        let end = u32::try_from(end).ok()?;
        Some(Position { start, end })
    }

    /// Returns `true` if the value is empty.
    pub(crate) fn is_empty(self) -> bool {
        self.start.get() == self.end
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

/// Returns `true` if a text contains any of these bytes. Values are short: loops without an early end are vectorized.
fn contains_any<const N: usize>(text: &str, bytes: [u8; N]) -> bool {
    let is_one = |byte| {
        bytes
            .iter()
            .fold(0, |is_one, b| is_one | u8::from(*b == byte))
    };
    text.bytes().fold(0, |found, byte| found | is_one(byte)) != 0
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !contains_any(value, *b"%") {
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
