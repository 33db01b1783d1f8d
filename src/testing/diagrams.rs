//! What was recorded, as diagrams of modules.

use super::record::{Call, End, Record, short};
use super::recorder::Recorder;
use crate::wiring::{Kind, escaped, quoted};
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// The name of what is not a handler: the code of the test.
const OUTSIDE: &str = "outside";

impl Recorder {
    /// What was sent between modules, as a [Mermaid](https://mermaid.js.org) sequence diagram.
    ///
    /// A handler's module is the path of its type without the crate and the type. Solid arrows are messages, those of events have an open
    /// head. Dotted ones are answers, and a cross is a failure.
    pub fn sequence(&self) -> String {
        let record = self.record();
        let mut lines = String::new();
        let mut modules = Vec::new();
        sequence(&record, None, &mut modules, &mut lines);
        let mut out = String::from("sequenceDiagram\n");
        for (i, module) in modules.iter().enumerate() {
            out += &format!("  participant m{i} as {}\n", escaped(module));
        }
        out + &lines
    }

    /// The modules that sent each other messages.
    pub fn graph(&self) -> Graph {
        let record = self.record();
        let mut edges: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in &record.calls {
            let sender = module_of(&record, call.sender);
            for &run in &call.runs {
                let receiver = module_of(&record, Some(run));
                let messages = edges.entry((sender.clone(), receiver)).or_default();
                if !messages.contains(&call.message) {
                    messages.push(call.message);
                }
            }
        }
        Graph(edges)
    }
}

fn sequence(record: &Record, sender: Option<usize>, modules: &mut Vec<String>, out: &mut String) {
    let mut number = |run| {
        let module = module_of(record, run);
        modules
            .iter()
            .position(|it| *it == module)
            .unwrap_or_else(|| {
                modules.push(module);
                modules.len() - 1
            })
    };
    let calls: Vec<(&Call, Vec<(usize, usize, usize)>)> = record
        .sent_by(sender)
        .map(|call| {
            (
                call,
                call.runs
                    .iter()
                    .map(|&run| (run, number(sender), number(Some(run))))
                    .collect(),
            )
        })
        .collect();
    for (call, runs) in calls {
        let message = escaped(short(call.message));
        for (run, from, to) in runs {
            let arrow = match call.kind {
                Kind::Event => "-)",
                Kind::Query | Kind::Command => "->>",
            };
            *out += &format!("  m{from}{arrow}m{to}: {message}\n");
            sequence(record, Some(run), modules, out);
            match (record.runs[run].end, call.kind) {
                (End::Failed, _) => *out += &format!("  m{to}--xm{from}: failed\n"),
                (End::None, _) => *out += &format!("  m{to}--xm{from}: did not end\n"),
                (End::Done, Kind::Query) => *out += &format!("  m{to}-->>m{from}: answer\n"),
                _ => {}
            }
        }
    }
}

/// Modules, and the messages that they sent each other, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph(BTreeMap<(String, String), Vec<&'static str>>);

impl Graph {
    /// A [Mermaid](https://mermaid.js.org) flowchart.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let modules = self.modules();
        for (i, module) in modules.iter().enumerate() {
            out += &format!("  m{i}[\"{}\"]\n", escaped(module));
        }
        let number = |module| {
            modules
                .iter()
                .position(|it| *it == module)
                .unwrap_or_default()
        };
        for ((from, to), messages) in &self.0 {
            let (from, to) = (number(from), number(to));
            let messages: Vec<_> = messages.iter().map(|name| escaped(short(name))).collect();
            out += &format!("  m{from} -->|\"{}\"| m{to}\n", messages.join("<br>"));
        }
        out
    }
    /// A [Graphviz](https://graphviz.org) digraph in the DOT language.
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph modules {\n  rankdir=LR;\n");
        for ((from, to), messages) in &self.0 {
            let messages: Vec<_> = messages.iter().map(|name| quoted(short(name))).collect();
            let (from, to, messages) = (quoted(from), quoted(to), messages.join("\\n"));
            out += &format!("  \"{from}\" -> \"{to}\" [label=\"{messages}\"];\n");
        }
        out + "}\n"
    }
    fn modules(&self) -> Vec<&String> {
        let mut all: Vec<_> = self.0.keys().flat_map(|(from, to)| [from, to]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
fn module_of(record: &Record, run: Option<usize>) -> String {
    run.map_or(OUTSIDE.to_string(), |run| module(record.runs[run].handler))
}

/// What stands before the type that belongs to a module: a pointer, the type of an impl (`<shop::App as Default>::default`),
/// a stand-in for the handler of a message.
const AROUND: [&str; 7] = [
    "&",
    "<",
    "alloc::sync::Arc<",
    "alloc::rc::Rc<",
    "alloc::boxed::Box<",
    "static_bus::testing::stand_ins::Stub<",
    "static_bus::testing::stand_ins::Spy<",
];

/// The module of a handler's type name: its path without the crate and the type, or the crate.
fn module(handler: &str) -> String {
    let mut name = handler;
    while let Some(inner) = AROUND.iter().find_map(|it| name.strip_prefix(it)) {
        name = inner;
    }
    let end = name.find(['<', ' ', '>']).unwrap_or(name.len());
    let name = &name[..end];
    let mut path: Vec<_> = name
        .split("::")
        .filter(|part| *part != "{{closure}}")
        .collect();
    path.pop();
    match path[..] {
        [] => name.to_string(),
        [only] => only.to_string(),
        [_, ref modules @ ..] => modules.join("::"),
    }
}

#[cfg(test)]
mod tests {
    use super::module;

    #[test]
    fn a_module_is_a_path_without_the_crate_and_the_type() {
        for (handler, expected) in [
            ("shop::orders::Orders", "orders"),
            (
                "shop::sales::orders::Orders<u8, shop::Other>",
                "sales::orders",
            ),
            ("alloc::sync::Arc<shop::orders::Orders>", "orders"),
            ("&shop::orders::Orders", "orders"),
            ("shop::main::{{closure}}", "shop"),
            ("shop::orders::double", "orders"),
            ("Orders", "Orders"),
            (
                "<shop::orders::App as core::default::Default>::default::{{closure}}",
                "orders",
            ),
            (
                "static_bus::testing::stand_ins::Stub<shop::orders::GetOrder>",
                "orders",
            ),
        ] {
            assert_eq!(module(handler), expected, "{handler}");
        }
    }
}
