//! Text for terminals and pages: escapes, numbers and times.
//!
//! Names, errors and bodies come from messages, so from anyone who can send one. A terminal would obey escape sequences
//! in them, and both terminals and browsers would obey marks of text direction.

use std::{borrow::Cow, cmp::Reverse, fmt::Write as _, time::Duration};

use jiff::Timestamp;

/// The greatest number of bytes of a body that is shown.
const SHOWN: usize = 64 * 1024;
/// The number of bytes in a line of a hexadecimal dump.
const DUMPED: usize = 16;

/// The text in one line, with escapes in place of characters that are not visible.
pub fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_invisible(c) => _ = write!(line, "\\u{{{:x}}}", u32::from(c)),
            c => line.push(c),
        }
    }
    line
}

/// Control characters, and characters that hide, reorder or break text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// JSON with escapes in place of characters that are not visible. They can only be in strings.
pub fn visible_json(json: &str) -> String {
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        if is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                _ = write!(visible, "\\u{unit:04x}");
            }
        } else {
            visible.push(c);
        }
    }
    visible
}

/// The lines of a body: its text, or a hexadecimal dump if it is not text.
pub fn body(bytes: &[u8]) -> Vec<String> {
    let mut shown = &bytes[..bytes.len().min(SHOWN)];
    let mut lines: Vec<String> = match str::from_utf8(bytes) {
        Ok(text) => {
            let text = &text[..text.floor_char_boundary(SHOWN)];
            shown = text.as_bytes();
            let line = |line: &str| visible(&line.replace('\t', "    "));
            text.split('\n').map(line).collect()
        }
        Err(_) => shown.chunks(DUMPED).enumerate().map(dump).collect(),
    };
    if shown.is_empty() {
        lines = Vec::new();
    }
    let left = bytes.len() - shown.len();
    if left > 0 {
        lines.push(format!("… {} more bytes", number(left as u64)));
    }
    lines
}

/// A line of a hexadecimal dump.
fn dump((at, bytes): (usize, &[u8])) -> String {
    let mut line = format!("{:08x} ", at * DUMPED);
    for byte in bytes {
        _ = write!(line, " {byte:02x}");
    }
    let padding = 3 * (DUMPED - bytes.len());
    let text = bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    let text: String = text.collect();
    _ = write!(line, "{:padding$}  {text}", "");
    line
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// A number with a comma between groups of three digits.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration in its two largest units.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let Some(first) = units.iter().position(|(_, size)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (unit, size) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((unit, next)) = units.get(first + 1) {
        let rest = seconds % size / next;
        if rest > 0 {
            _ = write!(text, " {rest}{unit}");
        }
    }
    text
}

/// A rate for each second.
pub fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "–".to_owned(),
        Some(0.0) => "0/s".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}/s"),
        Some(rate) => format!("{}/s", number(rate.round() as u64)),
    }
}

/// A time of RFC 3339 in whole seconds, in UTC; any other text as it is.
pub fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => visible(text),
    }
}

/// The beginning of a text, up to a number of characters.
pub fn shortened(text: &str, length: usize) -> Cow<'_, str> {
    match text.char_indices().nth(length) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A text without the user, the password and the parameters of URLs. A parameter may be a password.
///
/// A URL in one of the `arguments` ends with the argument, and may contain white space. Any other URL ends at white
/// space.
pub fn without_secrets(text: &str, arguments: &[String]) -> String {
    let urls = arguments.iter().filter_map(|a| a.split_once("://"));
    let mut urls: Vec<_> = urls.map(|(_, url)| url).collect();
    // One may be a part of another one.
    urls.sort_by_key(|url| Reverse(url.len()));
    let mut text = text.to_owned();
    for url in urls {
        text = text.replace(url, public_part(url));
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let url = &after[..end];
        let shown = public_part(url);
        clean.push_str(shown);
        if url.ends_with('\'') && !shown.ends_with('\'') {
            clean.push('\'');
        }
        rest = &after[end..];
    }
    clean.push_str(rest);
    clean
}

/// The hosts and the path of a URL, which is given without its scheme.
fn public_part(url: &str) -> &str {
    let (user, place) = url.split_at(url.rfind('@').map_or(0, |at| at + 1));
    // An `@` after a `?` may belong to a parameter.
    match user.contains('?') {
        true => "",
        false => place.split('?').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_invisible_reaches_a_terminal() {
        let hostile = "a\x1b[2J\u{9b}31m\r\n\tb\u{202e}c\u{200b}\u{feff}\u{e0041}";
        let escaped = r"a\u{1b}[2J\u{9b}31m\r\n\tb\u{202e}c\u{200b}\u{feff}\u{e0041}";
        assert_eq!(visible(hostile), escaped);
        assert_eq!(visible("Größe: 5 € 🚀"), "Größe: 5 € 🚀");
        let json = serde_json::to_string(hostile).unwrap();
        let escaped = visible_json(&json);
        assert_eq!(escaped.chars().find(|c| is_invisible(*c)), None);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), hostile);
    }

    #[test]
    fn a_body_is_text_or_a_dump() {
        assert_eq!(
            body(b"{\n\t\"a\": \"\x1b\"\n}"),
            ["{", r#"    "a": "\u{1b}""#, "}"]
        );
        assert_eq!(body(b""), [""; 0]);
        let bytes: Vec<u8> = (0xf8..=0xff).chain(0x40..0x4a).collect();
        assert_eq!(
            body(&bytes),
            [
                "00000000  f8 f9 fa fb fc fd fe ff 40 41 42 43 44 45 46 47  ........@ABCDEFG",
                "00000010  48 49                                            HI",
            ]
        );
        let long = "ä".repeat(SHOWN);
        assert_eq!(body(long.as_bytes())[1], "… 65,536 more bytes");
        let long = vec![0xff; SHOWN + 1];
        assert_eq!(body(&long).last().unwrap(), "… 1 more bytes");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(number),
            ["0", "999", "1,000", "1,234,567"]
        );
        let durations = [0, 59, 60, 61, 3600, 3660, 90_000, 864_000];
        assert_eq!(
            durations.map(|s| duration(Duration::from_secs(s))),
            ["0s", "59s", "1m", "1m 1s", "1h", "1h 1m", "1d 1h", "10d"]
        );
        let rates = [
            None,
            Some(0.0),
            Some(0.04),
            Some(9.94),
            Some(9.96),
            Some(1234.5),
        ];
        assert_eq!(
            rates.map(rate),
            ["–", "0/s", "0.0/s", "9.9/s", "10/s", "1,235/s"]
        );
        assert_eq!(time("2026-11-24T10:00:00.123456Z"), "2026-11-24 10:00:00");
        assert_eq!(time("soon\x07"), r"soon\u{7}");
        assert_eq!(shortened("größer", 3), "grö…");
        assert_eq!(shortened("größer", 6), "größer");
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (text, shown) in [
            ("redis://:pw@host:1/0 is", "redis://host:1/0 is"),
            (
                "'kafka://a:p@w@h:1,h:2' 'redis://h'",
                "'kafka://h:1,h:2' 'redis://h'",
            ),
            (
                "'postgres://a:p@w@h/db?password=pw' is",
                "'postgres://h/db' is",
            ),
            ("postgres://h/db?password=p@w is", "postgres:// is"),
            ("no url: a@b", "no url: a@b"),
            ("://@", "://"),
        ] {
            assert_eq!(without_secrets(text, &[]), shown);
        }
        for (argument, shown) in [
            ("redis://:my pw@host", "'redis://host' is"),
            ("--bus=redis://:my pw@host", "'--bus=redis://host' is"),
            ("redis://:my\npw' x://y@host:1/0", "'redis://host:1/0' is"),
            ("postgres://h/db?password=my pw", "'postgres://h/db' is"),
            ("postgres://h/db?password=m@y pw", "'postgres://' is"),
        ] {
            let text = format!("'{argument}' is");
            assert_eq!(without_secrets(&text, &[argument.to_owned()]), shown);
        }
        let arguments = ["redis://pw@h", "redis://:my pw@h"].map(str::to_owned);
        let text = "'redis://:my pw@h' is";
        assert_eq!(without_secrets(text, &arguments), "'redis://h' is");
    }
}
