//! Lists as arguments of statements, in JSON.

use std::fmt::{Display, Write as _};

/// A list of numbers, or of lists of numbers.
pub(crate) fn numbers(values: impl IntoIterator<Item = impl Display>) -> String {
    let mut list = String::from("[");
    for value in values {
        let comma = if list.len() > 1 { "," } else { "" };
        write!(list, "{comma}{value}").expect("memory is writable");
    }
    list + "]"
}

/// A pair of numbers in a list.
pub(crate) struct Pair(pub i64, pub i64);

impl Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{},{}]", self.0, self.1)
    }
}

/// A list of bytes, in hexadecimal digits: JSON has no bytes.
pub(crate) fn bytes<'b>(values: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut list = String::from("[");
    for value in values {
        list += if list.len() > 1 { ",\"" } else { "\"" };
        for byte in value {
            write!(list, "{byte:02x}").expect("memory is writable");
        }
        list.push('"');
    }
    list + "]"
}

/// A list of lists of text.
pub(crate) fn texts<'t>(values: impl IntoIterator<Item = [&'t str; 2]>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    serde_json::to_string(&values).expect("text has a form in JSON")
}
