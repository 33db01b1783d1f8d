//! The entries of the log of claims. They are JSON, so that the tools of Kafka can show them.

use std::{borrow::Cow, ops::Deref};

use serde::{Deserialize, Serialize};

/// An operation of a member. All times are in milliseconds.
///
/// A claim has a number that is unique among the claims of its member: a late operation on a lost claim does not
/// affect the next claim of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry<'e> {
    /// A new member. It does not change the table.
    Join { member: Cow<'e, str> },
    /// Claims of these keys for the length of a lease, numbered from `first` on.
    Claim {
        member: Cow<'e, str>,
        first: u64,
        lease: u64,
        #[serde(borrow)]
        keys: Vec<Key<'e>>,
    },
    /// Renewals of claims.
    Renew {
        member: Cow<'e, str>,
        lease: u64,
        #[serde(borrow)]
        claims: Vec<Numbered<'e>>,
    },
    /// Releases of claims.
    #[serde(rename = "give-up")]
    Release {
        member: Cow<'e, str>,
        #[serde(borrow)]
        claims: Vec<Numbered<'e>>,
    },
    /// Confirmations of keys, which are remembered for the time `kept`.
    Confirm {
        kept: u64,
        #[serde(borrow)]
        keys: Vec<Key<'e>>,
    },
    /// A member that leaves. It releases all of its claims.
    Leave { member: Cow<'e, str> },
}

/// A key and the number of its claim.
pub type Numbered<'e> = (Key<'e>, u64);

/// A deduplication key. One that is read is a part of the entry: there are hundreds in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key<'e>(#[serde(borrow)] Cow<'e, str>);

impl<'e, K: Into<Cow<'e, str>>> From<K> for Key<'e> {
    fn from(key: K) -> Self {
        Key(key.into())
    }
}

impl Deref for Key<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The greatest size of the keys of one entry: less than half of the default limit of brokers.
const MAX_BYTES: usize = 256 * 1024;

impl<'e> Entry<'e> {
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are serializable")
    }

    /// Reads an entry. `None` for one that is invalid or of a later version.
    pub fn read(bytes: &'e [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Divides keys or claims into pieces that fit into entries.
pub fn pieces<K>(keys: &[K], length: impl Fn(&K) -> usize) -> impl Iterator<Item = &[K]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |key: &&K| {
            // JSON adds a few bytes to each key. An escaped character takes six.
            bytes += length(key) + 24;
            bytes <= MAX_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (piece, others) = rest.split_at(count);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of several versions read one log.
    #[test]
    fn the_format_is_stable() {
        let claims = || vec![("a".into(), 7)];
        let entries = [
            (
                Entry::Join { member: "m".into() },
                r#"{"join":{"member":"m"}}"#,
            ),
            (
                Entry::Claim {
                    member: "m".into(),
                    first: 7,
                    lease: 30_000,
                    keys: vec!["a".into(), "\"b\"\n".into()],
                },
                r#"{"claim":{"member":"m","first":7,"lease":30000,"keys":["a","\"b\"\n"]}}"#,
            ),
            (
                Entry::Renew {
                    member: "m".into(),
                    lease: 30_000,
                    claims: claims(),
                },
                r#"{"renew":{"member":"m","lease":30000,"claims":[["a",7]]}}"#,
            ),
            (
                Entry::Release {
                    member: "m".into(),
                    claims: claims(),
                },
                r#"{"give-up":{"member":"m","claims":[["a",7]]}}"#,
            ),
            (
                Entry::Confirm {
                    kept: 600_000,
                    keys: vec!["a".into()],
                },
                r#"{"confirm":{"kept":600000,"keys":["a"]}}"#,
            ),
            (
                Entry::Leave { member: "m".into() },
                r#"{"leave":{"member":"m"}}"#,
            ),
        ];
        for (entry, text) in entries {
            assert_eq!(str::from_utf8(&entry.write()).unwrap(), text);
            assert_eq!(Entry::read(text.as_bytes()), Some(entry));
        }
    }

    #[test]
    fn invalid_entries_are_skipped() {
        for text in ["", "{}", "null", r#"{"steal":{"member":"m"}}"#, "\u{0}"] {
            assert_eq!(Entry::read(text.as_bytes()), None, "{text:?}");
        }
        let newer = r#"{"leave":{"member":"m","reason":"shutdown"}}"#;
        assert!(Entry::read(newer.as_bytes()).is_some(), "an unknown field");
    }

    #[test]
    fn pieces_fit_into_entries_and_contain_all_keys() {
        let keys: Vec<String> = (0..40).map(|n| "k".repeat(n * 1000)).collect();
        let taken: Vec<_> = pieces(&keys, String::len).collect();
        assert!(taken.len() > 2, "{} pieces", taken.len());
        assert_eq!(taken.concat(), keys);
        for piece in taken {
            let bytes: usize = piece.iter().map(|key| key.len()).sum();
            assert!(bytes <= MAX_BYTES, "{bytes} bytes");
        }
        let none: [String; 0] = [];
        assert_eq!(pieces(&none, String::len).count(), 0);
        // A key that is too long has its own piece, and the broker refuses it.
        let long = ["k".repeat(MAX_BYTES + 1), "k".to_owned()];
        assert_eq!(pieces(&long, String::len).count(), 2);
    }
}
