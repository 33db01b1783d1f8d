//! Reads bars from CSV. Every error is one line: the file, the line, what is wrong, the remedy.

mod timestamp;

pub use timestamp::Timestamp;

use std::{fs, ops::Range, path::Path};

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::one_line;

const SP500: &str = include_str!("../data/sp500-2000.csv");

/// The range of prices, units and cash. With amounts in it, no figure of a run overflows, and no return is
/// rounded to zero.
pub const AMOUNTS: Range<f64> = 1e-60..1e60;

const COLUMNS: [&str; 5] = ["date", "open", "high", "low", "close"];

pub struct Bar {
    pub time: Timestamp,
    pub open: f64,
    pub close: f64,
}

/// The bars of a file, or of the S&P 500 when none is named.
pub fn load(path: Option<&Path>) -> Result<Vec<Bar>, String> {
    let Some(path) = path else {
        return parse(SP500).map_err(|problem| format!("sp500-2000.csv:{problem}"));
    };
    let name = one_line(path);
    let text = fs::read_to_string(path).map_err(|failure| {
        format!("{name}: cannot be read ({failure}); name a readable CSV file in UTF-8 with --csv")
    })?;
    parse(&text).map_err(|problem| format!("{name}:{problem}"))
}

/// The bars of a CSV text. An error begins with the number of its line.
fn parse(text: &str) -> Result<Vec<Bar>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|failure| format!("1: {failure}; check the file"))?;
    let columns = find_columns(header).map_err(|problem| format!("1: {problem}"))?;
    let width = filled_cells(header);

    let mut bars: Vec<Bar> = Vec::new();
    let mut record = StringRecord::new();
    let mut start = reader.position().byte();
    loop {
        let parsed = match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => parse_bar(&record, width, columns, bars.last()),
            Err(failure) => Err(format!("{failure}; check the quotes and the encoding")),
        };
        bars.push(parsed.map_err(|problem| format!("{}: {problem}", line_at(text, start)))?);
        start = reader.position().byte();
    }
    if bars.is_empty() {
        return Err("1: no bars follow the header; give a file with at least one".into());
    }
    Ok(bars)
}

/// The position of each of [`COLUMNS`].
fn find_columns(header: &StringRecord) -> Result<[usize; 5], String> {
    let mut places = [0; 5];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let mut matching = (0..header.len()).filter(|at| header[*at].eq_ignore_ascii_case(column));
        *place = matching.next().ok_or_else(|| {
            format!(
                "the header has no column `{column}`; \
                 begin the file with a comma-separated header: {}",
                COLUMNS.join(",")
            )
        })?;
        if matching.next().is_some() {
            return Err(format!(
                "two columns are named `{column}`; rename one of them"
            ));
        }
    }
    Ok(places)
}

/// The number of cells, without empty ones at the end.
fn filled_cells(record: &StringRecord) -> usize {
    let last = (0..record.len()).rfind(|at| !record[*at].is_empty());
    last.map_or(0, |last| last + 1)
}

/// The bar of a row, below a header of this width.
fn parse_bar(
    record: &StringRecord,
    width: usize,
    columns: [usize; 5],
    last: Option<&Bar>,
) -> Result<Bar, String> {
    let filled = filled_cells(record);
    if filled > width {
        return Err(format!(
            "{filled} cells, and the header has {width}; \
             write 1455.22 for 1,455.22 or 1455,22, and name every column"
        ));
    }
    let [date, open, high, low, close] = columns;
    let text = record.get(date).unwrap_or_default();
    let time = Timestamp::parse(text).ok_or_else(|| {
        format!("date {text:?} is not understood; write 2000-01-31, 2000-01-31T14:30:00Z or Unix seconds")
    })?;
    if last.is_some_and(|last| last.time >= time) {
        return Err(format!(
            "date {text:?} is not after the bar before; sort the bars by date, oldest first, each once"
        ));
    }
    let price = |column: &str, at: usize| parse_price(column, record.get(at).unwrap_or_default());
    let (open, high) = (price("open", open)?, price("high", high)?);
    let (low, close) = (price("low", low)?, price("close", close)?);
    let cells = record.len();
    if cells < width {
        return Err(format!(
            "{cells} cells, and the header has {width}; leave a cell without a value empty"
        ));
    }
    // The high and the low are not used, but a bad one means that the file is damaged.
    if high < low {
        return Err(format!("high {high} is below low {low}; correct the bar"));
    }
    for (column, price) in [("open", open), ("close", close)] {
        if !(low..=high).contains(&price) {
            return Err(format!(
                "{column} {price} is outside low {low} to high {high}; correct the bar"
            ));
        }
    }
    Ok(Bar { time, open, close })
}

fn parse_price(column: &str, text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|price| AMOUNTS.contains(price))
        .ok_or_else(|| {
            format!("{column} {text:?} is not a price; write a positive number such as 1455.22")
        })
}

/// The line of the record that starts at or after this byte; blank lines are skipped.
fn line_at(text: &str, byte: u64) -> usize {
    let byte = usize::try_from(byte).map_or(text.len(), |byte| byte.min(text.len()));
    let blank = text[byte..]
        .bytes()
        .take_while(|byte| matches!(byte, b'\n' | b'\r'))
        .count();
    1 + text[..byte + blank].matches('\n').count()
}
