//! The wiring of a bus as text: a table, Mermaid and DOT.

use super::{Registration, Registrations};
use alloc::string::{String, ToString};
use alloc::{format, vec::Vec};
use core::fmt::{self, Write};

/// Every registration of a bus, sorted by kind (queries, commands, events) and then by message name;
/// the subscribers of one event are in registration order. The layers of a handler are listed apart, the innermost
/// first, if any handler has one.
///
/// `Display` prints a table:
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// query!(Ping -> u8, name = "net.ping");
/// struct Pong;
/// impl<B> QueryHandler<Ping, B> for Pong {
///     fn handle(&self, _: Ping, _bus: &B) -> u8 { 1 }
/// }
/// let bus = BusBuilder::new().register_query::<Ping, _>(Pong).build();
/// let table = bus.wiring().to_string();
/// assert!(table.starts_with("kind     message   handler\nquery    net.ping  "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring(Vec<Registration>);

impl Wiring {
    pub(crate) fn of<T: Registrations>() -> Self {
        let mut all = Vec::new();
        T::each(&mut |registration| all.push(registration));
        all.sort_by_key(|registration| (registration.kind, registration.message));
        Wiring(all)
    }

    /// The registrations, in the order in which `Display` prints them.
    ///
    /// ```
    /// let bus = static_bus::prelude::BusBuilder::new().build();
    /// assert!(bus.wiring().registrations().is_empty());
    /// ```
    pub fn registrations(&self) -> &[Registration] {
        &self.0
    }

    /// A [Mermaid](https://mermaid.js.org) flowchart: messages on the left, their handlers on the
    /// right.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
    /// assert!(bus.wiring().mermaid().starts_with("flowchart LR\n  m0[\"query net.ping\"] --> h0"));
    /// ```
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let mut first = 0;
        for (i, registration) in self.0.iter().enumerate() {
            let Registration {
                kind,
                message,
                handler,
                layers,
                ..
            } = registration;
            // The subscribers of one event are adjacent and share the node of the first.
            if self.0[first].message != *message {
                first = i;
            }
            let handler = escaped(handler);
            let arrow = if layers.is_empty() {
                String::from("-->")
            } else {
                format!("-->|\"{}\"|", escaped(layers))
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  m{first}[\"{kind} {}\"] {arrow} h{i}[\"{handler}\"]",
                escaped(message)
            );
        }
        out
    }

    /// A [Graphviz](https://graphviz.org) digraph in the DOT language, from messages to their handlers.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
    /// assert!(bus.wiring().dot().contains("\"query net.ping\" -> "));
    /// ```
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph wiring {\n  rankdir=LR;\n");
        for registration in &self.0 {
            let Registration {
                kind,
                message,
                handler,
                layers,
                ..
            } = registration;
            let label = if layers.is_empty() {
                String::new()
            } else {
                format!(" [label=\"{}\"]", quoted(layers))
            };
            // Writing to a String cannot fail.
            let (message, handler) = (quoted(message), quoted(handler));
            let _ = writeln!(out, "  \"{kind} {message}\" -> \"{handler}\"{label};");
        }
        out + "}\n"
    }
}

/// Text in a label of Mermaid: what has a meaning there is written as an entity.
pub(crate) fn escaped(text: impl fmt::Display) -> String {
    let mut out = String::new();
    for c in text.to_string().chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "#quot;",
            '#' => out += "#35;",
            ';' => out += "#59;",
            _ => out.push(c),
        }
    }
    out
}
/// Text between quotes in DOT.
pub(crate) fn quoted(text: impl fmt::Display) -> String {
    text.to_string().replace('\\', "\\\\").replace('"', "\\\"")
}

impl fmt::Display for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|registration| registration.message.len());
        let width = names.max().unwrap_or(0).max("message".len());
        let handlers = self.0.iter().map(|registration| registration.handler.len());
        let handlers = handlers.max().unwrap_or(0).max("handler".len());
        let layered = self
            .0
            .iter()
            .any(|registration| !registration.layers.is_empty());
        write!(f, "{:<7}  {:<width$}  ", "kind", "message")?;
        if layered {
            writeln!(f, "{:<handlers$}  layers", "handler")?;
        } else {
            writeln!(f, "handler")?;
        }
        for registration in &self.0 {
            let Registration {
                kind,
                message,
                handler,
                layers,
                ..
            } = registration;
            write!(f, "{kind:<7}  {message:<width$}  ")?;
            if layers.is_empty() {
                writeln!(f, "{handler}")?;
            } else {
                writeln!(f, "{handler:<handlers$}  {layers}")?;
            }
        }
        Ok(())
    }
}
