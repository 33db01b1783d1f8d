//! Ordering keys that are not text.

use std::{borrow::Cow, sync::Arc};

/// The characters that encode bytes which are not UTF-8: `U+10FF00` plus the byte, from `0x80` to `0xFF`. They are in a private
/// use area of Unicode.
const BYTES: std::ops::RangeInclusive<char> = '\u{10FF80}'..='\u{10FFFF}';

/// Decodes an ordering key from the bytes of a broker, which another program may have written. [`key_to_bytes`] is the inverse.
///
/// UTF-8 is kept as it is. Each byte that is not UTF-8 becomes one character of a private use area of Unicode: `U+10FF00` plus
/// the byte.
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
                // Each of its bytes is encoded: as a character it would be decoded to a single byte.
                true => push_bytes(&mut key, character.encode_utf8(&mut [0; 4]).as_bytes()),
                false => key.push(character),
            }
        }
        push_bytes(&mut key, chunk.invalid());
    }
    key.into()
}

/// Encodes an ordering key as bytes: the inverse of [`key_from_bytes`], and UTF-8 for any other text.
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
