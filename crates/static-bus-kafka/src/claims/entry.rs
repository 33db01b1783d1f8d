//! What members write to the log of claims, as JSON, so that it can be read with Kafka's own tools.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One thing that a member did, or more of a kind. All times are milliseconds.
///
/// A claim has a number, one of its own among those of its member: so that what is done late to a claim
/// that is lost does nothing to the next one of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry<'e> {
    /// It has joined; of no consequence.
    Join { member: Cow<'e, str> },
    /// It wants these keys, for the length of its lease. The first claim has the number `first`, and
    /// those after it the next ones.
    Claim {
        member: Cow<'e, str>,
        first: u64,
        lease: u64,
        keys: Vec<Cow<'e, str>>,
    },
    /// It still works on these.
    Renew {
        member: Cow<'e, str>,
        lease: u64,
        claims: Vec<Numbered<'e>>,
    },
    /// It does not want these any more.
    GiveUp {
        member: Cow<'e, str>,
        claims: Vec<Numbered<'e>>,
    },
    /// What has these keys was handled, and is remembered for so long.
    Confirm { kept: u64, keys: Vec<Cow<'e, str>> },
    /// It has left, and wants none of what it claimed.
    Leave { member: Cow<'e, str> },
}

/// A key, and the number of its claim.
pub type Numbered<'e> = (Cow<'e, str>, u64);

/// At most this many bytes of keys go into one entry: less than half of what brokers take.
const MAX_BYTES: usize = 256 * 1024;

impl Entry<'_> {
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can be written")
    }

    /// Reads an entry; `None` if it is none, or one that a later version writes.
    pub fn read(bytes: &[u8]) -> Option<Entry<'static>> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Divides what is to be written into pieces that fit into entries.
pub fn pieces<K>(keys: &[K], length: impl Fn(&K) -> usize) -> impl Iterator<Item = &[K]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |key: &&K| {
            // What JSON adds; where it escapes, a character becomes six.
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
    fn the_form_in_the_log_is_this() {
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
                Entry::GiveUp {
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
    fn what_is_no_entry_is_passed_over() {
        for text in ["", "{}", "null", r#"{"steal":{"member":"m"}}"#, "\u{0}"] {
            assert_eq!(Entry::read(text.as_bytes()), None, "{text:?}");
        }
        let newer = r#"{"leave":{"member":"m","why":"it was told to"}}"#;
        assert!(
            Entry::read(newer.as_bytes()).is_some(),
            "a field that is new"
        );
    }

    #[test]
    fn pieces_fit_into_entries_and_leave_out_nothing() {
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
        // One that fits nowhere goes by itself, and the broker says what it thinks of it.
        let long = ["k".repeat(MAX_BYTES + 1), "k".to_owned()];
        assert_eq!(pieces(&long, String::len).count(), 2);
    }
}
