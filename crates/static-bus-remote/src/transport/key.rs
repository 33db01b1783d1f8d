//! Ordering keys that are not text.

use std::{borrow::Cow, sync::Arc};

/// The characters that stand for the bytes of a key that are not UTF-8: from `0x80` at `U+10FF80`, a private use area
/// of Unicode, to `0xFF` at `U+10FFFF`.
const BYTES: std::ops::RangeInclusive<char> = '\u{10FF80}'..='\u{10FFFF}';

/// The ordering key of a record that another program wrote, with any bytes. [`key_to_bytes`] returns the same bytes.
///
/// Keys are text in [`Record`](super::Record). A byte that is no part of UTF-8 becomes a character of a private use
/// area, `U+10FF00` plus the byte.
///
/// ```
/// use static_bus_remote::transport::{key_from_bytes, key_to_bytes};
///
/// assert_eq!(&*key_from_bytes("Zoë".as_bytes()), "Zoë");
/// let key = key_from_bytes(b"7\xFF");
/// assert_eq!(&*key, "7\u{10FFFF}");
/// assert_eq!(*key_to_bytes(&key), *b"7\xFF");
/// ```
pub fn key_from_bytes(bytes: &[u8]) -> Arc<str> {
    if let Ok(text) = str::from_utf8(bytes)
        && !text.contains(is_byte)
    {
        return text.into();
    }
    let mut key = String::with_capacity(2 * bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_byte(character) {
                // Its own bytes, or it would be read as the byte that it stands for.
                true => push_bytes(&mut key, character.encode_utf8(&mut [0; 4]).as_bytes()),
                false => key.push(character),
            }
        }
        push_bytes(&mut key, chunk.invalid());
    }
    key.into()
}

/// The bytes of an ordering key: those from which [`key_from_bytes`] made it, or the text itself.
pub fn key_to_bytes(key: &str) -> Cow<'_, [u8]> {
    if !key.contains(is_byte) {
        return Cow::Borrowed(key.as_bytes());
    }
    let mut bytes = Vec::with_capacity(key.len());
    for character in key.chars() {
        match is_byte(character) {
            true => bytes.push(character as u8),
            false => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

fn is_byte(character: char) -> bool {
    BYTES.contains(&character)
}

fn push_bytes(key: &mut String, bytes: &[u8]) {
    let character = |byte: &u8| char::from_u32(0x10_FF00 + u32::from(*byte));
    key.extend(bytes.iter().filter_map(character));
}
