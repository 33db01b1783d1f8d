//! Lists as arguments of statements, in JSON.

use std::fmt::{Display, Write as _};

use serde_json::Value;

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
            let digits = [byte >> 4, byte & 15].map(usize::from);
            list.extend(digits.map(|digit| char::from(b"0123456789abcdef"[digit])));
        }
        list.push('"');
    }
    list + "]"
}

/// A list of texts, or of lists of texts.
pub(crate) fn texts(values: impl IntoIterator<Item = impl Into<Value>>) -> String {
    Value::from_iter(values).to_string()
}
