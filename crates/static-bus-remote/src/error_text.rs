//! The texts of errors in dead letters, replies and health reports.

use std::fmt::{self, Display, Write};

/// The largest size of the text of an error in bytes, without the note on what was cut.
pub(crate) const LIMIT: usize = 4096;

/// The text of an error, cut after [`LIMIT`] bytes.
pub(crate) fn error_text(error: impl Display) -> String {
    let mut cut = Cut::default();
    // An error of `Display` ends the text.
    _ = write!(cut, "{error}");
    let Cut { mut text, len } = cut;
    if len > text.len() {
        _ = write!(text, "… (cut: {} of {len} bytes)", text.len());
    }
    text
}

/// Keeps the beginning of a text, and counts the rest.
#[derive(Default)]
struct Cut {
    text: String,
    len: usize,
}

impl Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.len == self.text.len() {
            let room = LIMIT - self.text.len();
            self.text.push_str(&part[..part.floor_char_boundary(room)]);
        }
        self.len += part.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, error_text};

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_so() {
        let fits = "x".repeat(LIMIT);
        assert_eq!(error_text(&fits), fits);
        let long = format!("{}x", "é".repeat(LIMIT));
        let cut = format!(
            "{}… (cut: {LIMIT} of {} bytes)",
            "é".repeat(LIMIT / 2),
            long.len()
        );
        assert_eq!(error_text(&long), cut);
        // Nothing follows a character that did not fit.
        let (parts, half) = ("é".repeat(LIMIT / 2), LIMIT / 2 - 1);
        assert_eq!(
            error_text(format_args!("x{parts}{}", "y")),
            format!(
                "x{}… (cut: {} of {} bytes)",
                "é".repeat(half),
                LIMIT - 1,
                LIMIT + 2
            )
        );
    }
}
