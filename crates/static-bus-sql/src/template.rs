//! Statements as templates: the texts that both databases share.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, Mutex},
};

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};
use static_bus_remote::lock::lock;

use super::dialect::Statements;

/// The statements of one namespace, each made once of its template.
///
/// In a template, `{n}` is the namespace, `{p}` the prefix of a table and `{i}` that of an index. `{now}` is the time in milliseconds, by the clock of
/// the database. `{in $1}` compares with a list, an argument in JSON; `{in_first $1}` with the first numbers of its elements, `{in_keys $1}` with keys.
/// `{each $1}` are the elements of a list, an argument in JSON: `{int}`, `{text}` and `{hex}` are their values, `{int 0}` the
/// first value of elements that are lists themselves. `{row …} {found} select {row …} from … {end}` compares with the
/// results of a search for rows, by their location or by these columns; in it `{is $1}` compares the first column of the order; and `{skip}` leaves rows out that another transaction has locked. `{rows 7}` are rows of
/// seven arguments, and `{count}` is their number. `{size r}` is the number of bytes of a row with a record. `{heads $4}` are the first deliveries of each strand of a list, and `{firsts $1}` the first messages of each partition of the outbox. `{by name}` names the index to use, and `{limit $1}` the greatest number of rows. The other parts belong to the schema.
pub(crate) struct Templates<D> {
    namespace: String,
    prefixes: [String; 2],
    made: Mutex<HashMap<(&'static str, usize), Arc<str>>>,
    dialect: PhantomData<fn() -> D>,
}

impl<D: Statements> Templates<D> {
    pub fn new(namespace: &str) -> Self {
        Templates {
            namespace: namespace.to_owned(),
            prefixes: D::prefixes(namespace),
            made: Mutex::default(),
            dialect: PhantomData,
        }
    }

    /// The statement of a template, with this number of `{rows}`.
    pub fn statement(&self, template: &'static str, rows: usize) -> SqlStr {
        let mut made = lock(&self.made);
        let make = || self.make(template, rows).into();
        let statement = made.entry((template, rows)).or_insert_with(make);
        // Of templates of this crate, and a namespace that has been checked.
        AssertSqlSafe(statement.clone()).into_sql_str()
    }

    fn make(&self, template: &str, rows: usize) -> String {
        let mut text = String::with_capacity(2 * template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (part, after) = after.split_once('}').expect("a part ends with a brace");
            text += before;
            text += &self.part(part, rows);
            rest = after;
        }
        text + rest
    }

    fn part(&self, part: &str, rows: usize) -> String {
        let (name, argument) = part.split_once(' ').unwrap_or((part, ""));
        match name {
            "n" => self.namespace.clone(),
            "p" => self.prefixes[0].clone(),
            "i" => self.prefixes[1].clone(),
            "rows" => placeholders::<D>(argument.parse().expect("a number of columns"), rows),
            "count" => rows.to_string(),
            "size" => format!(
                "cast(length({argument}.headers) + length({argument}.body) + coalesce(length({argument}.key), 0) as bigint)"
            ),
            _ => {
                let text = D::part(name, argument);
                let text = text.unwrap_or_else(|| panic!("no part of a template: {part}"));
                self.make(&text, rows)
            }
        }
    }
}

/// `($1, $2), ($3, $4)`.
fn placeholders<D: Statements>(columns: usize, rows: usize) -> String {
    let row = |row: usize| {
        let row = row * columns + 1..(row + 1) * columns + 1;
        let row: Vec<_> = row.map(D::placeholder).collect();
        format!("({})", row.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
