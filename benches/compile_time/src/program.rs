//! The programs that are compiled: N messages, each with a handler, each sent once.

use clap::ValueEnum;
use std::{fmt::Write, ops::Range};

use crate::measure::Job;

/// The number of handlers of one module.
const MODULE: usize = 40;
/// The number of messages that one generic function sends.
const FUNCTION: usize = 10;
/// The number of handlers of one of several buses.
const SMALL: usize = 100;
/// The number of messages that `main` sends if handlers send the others.
const ROOTS: usize = 3;
/// The number of messages that one handler sends.
const BRANCHES: usize = 8;

/// A way of writing the bus of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// A struct with a field for each handler and an `impl` for each message, without the library.
    Floor,
    /// Handler types, mounted in modules of 40.
    Modules,
    /// The same, within one layer.
    Layer,
    /// The same, within three layers.
    ThreeLayers,
    /// Handler types that hold a reference, in modules of 40.
    Borrowing,
    /// Handler types in modules of 40. `main` sends three messages, and handlers send the others.
    Inner,
    /// The same, with handler types that hold a reference.
    BorrowingInner,
    /// Handler types in modules of 40. Functions that are generic over the bus send ten messages each.
    Generic,
    /// Handler types in modules of 40, on several buses of 100 each.
    Several,
    /// Handler types, registered in one chain.
    Chain,
    /// Closures, registered in one chain.
    Closures,
    /// Closures, mounted in modules of 40.
    ClosureModules,
    /// A plain list, with an index that the compiler infers.
    Naive,
}

impl Bus {
    pub fn title(self) -> &'static str {
        match self {
            Bus::Floor => "by hand",
            Bus::Modules => "modules of 40",
            Bus::Layer => "one layer",
            Bus::ThreeLayers => "three layers",
            Bus::Borrowing => "borrowing",
            Bus::Inner => "sent by handlers",
            Bus::BorrowingInner => "sent by handlers, borrowing",
            Bus::Generic => "modules, generic callers",
            Bus::Several => "buses of 100",
            Bus::Chain => "one chain",
            Bus::Closures => "closures, one chain",
            Bus::ClosureModules => "closures, modules of 40",
            Bus::Naive => "plain list",
        }
    }

    /// Handlers hold a reference.
    fn borrows(self) -> bool {
        matches!(self, Bus::Borrowing | Bus::BorrowingInner)
    }

    /// Handlers send the messages that `main` does not send.
    fn inner(self) -> bool {
        matches!(self, Bus::Inner | Bus::BorrowingInner)
    }

    /// The number of layers around the bus.
    fn layers(self) -> usize {
        match self {
            Bus::Layer => 1,
            Bus::ThreeLayers => 3,
            _ => 0,
        }
    }

    /// The maximum number of handlers. Closures are for small programs, a longer plain list takes
    /// minutes, and the ways to shorten `cargo check` are measured with that job only.
    pub fn most(self, job: Job) -> usize {
        match (self, job) {
            (Bus::Closures | Bus::ClosureModules, Job::NextSolver) => 50,
            (Bus::Closures | Bus::ClosureModules, _) | (Bus::Naive, Job::Check) => 200,
            (
                Bus::Layer
                | Bus::ThreeLayers
                | Bus::Borrowing
                | Bus::Inner
                | Bus::BorrowingInner
                | Bus::Generic
                | Bus::Several
                | Bus::Naive,
                _,
            ) if job != Job::Check => 0,
            _ => usize::MAX,
        }
    }

    /// A program with `n` messages. It asserts at run time that every handler was reached.
    pub fn program(self, n: usize) -> String {
        let mut out = String::new();
        self.items(n, &mut out);
        let calls: Vec<String> = match self {
            Bus::Generic => parts(n, FUNCTION)
                .map(|part| {
                    let needs = each(&part, " + ", |i| format!("SendQuery<Q{i}>"));
                    let sum = each(&part, " + ", |i| format!("bus.send(Q{i})"));
                    let first = part.start;
                    let _ = writeln!(
                        out,
                        "fn part{first}<B: {needs}>(bus: &B) -> usize {{\n    {sum}\n}}"
                    );
                    format!("part{first}(&bus)")
                })
                .collect(),
            Bus::Several => parts(n, SMALL)
                .map(|part| {
                    let first = part.start;
                    let _ = write!(out, "fn bus{first}() -> usize {{\n    let bus = ");
                    self.wiring(part.clone(), &mut out);
                    let sum = each(&part, " + ", |i| format!("bus.send::<Q{i}>(Q{i})"));
                    let _ = writeln!(out, ";\n    {sum}\n}}");
                    format!("bus{first}()")
                })
                .collect(),
            Bus::Naive => (0..n).map(|i| format!("bus.send(Q{i})")).collect(),
            _ => {
                let sent = if self.inner() { n.min(ROOTS) } else { n };
                (0..sent)
                    .map(|i| format!("bus.send::<Q{i}>(Q{i})"))
                    .collect()
            }
        };
        out += "fn main() {\n";
        if self.borrows() {
            out += "    let cell = std::cell::Cell::new(0);\n";
        }
        if self != Bus::Several {
            out += "    let bus = ";
            self.wiring(0..n, &mut out);
            out += ";\n";
        }
        out += "    let mut sum = 0;\n";
        for call in calls {
            let _ = writeln!(out, "    sum += {call};");
        }
        let sum = n * n.saturating_sub(1) / 2;
        let _ = write!(out, "    assert_eq!(sum, {sum});\n}}\n");
        out
    }

    /// Messages, handlers, and the bus if it is written by hand.
    fn items(self, n: usize, out: &mut String) {
        if self == Bus::Naive {
            *out += "#![recursion_limit = \"1024\"]\n";
        }
        *out += "#![allow(unused)]\n";
        *out += match self {
            Bus::Floor => TRAITS,
            _ => "use static_bus::prelude::*;\n",
        };
        for layer in 0..self.layers() {
            *out += &LAYER.replace("Pass", &format!("Pass{layer}"));
        }
        for i in 0..n {
            let _ = match self {
                Bus::Floor => writeln!(
                    out,
                    "struct Q{i};\nimpl Query for Q{i} {{\n    type Response = usize;\n}}"
                ),
                _ => writeln!(out, "struct Q{i};\nquery!(Q{i} -> usize);"),
            };
            if !matches!(self, Bus::Closures | Bus::ClosureModules) {
                let first = ROOTS + i * BRANCHES;
                let sent = if self.inner() {
                    first.min(n)..n.min(first + BRANCHES)
                } else {
                    0..0
                };
                let needs = each(&sent, " + ", |j| format!("SendQuery<Q{j}>"));
                let colon = if needs.is_empty() { "" } else { ": " };
                let sum = each(&sent, "", |j| format!(" + bus.send(Q{j})"));
                let (fields, lifetime) = match self.borrows() {
                    true => ("<'a>(&'a std::cell::Cell<usize>)", "<'_>"),
                    false => ("", ""),
                };
                let _ = writeln!(
                    out,
                    "struct H{i}{fields};\nimpl<B{colon}{needs}> QueryHandler<Q{i}, B> for H{i}{lifetime} {{\n    \
                     fn handle(&self, _: Q{i}, bus: &B) -> usize {{ {i}{sum} }}\n}}"
                );
            }
        }
        match self {
            Bus::Floor => {
                *out += "struct ByHand {\n";
                for i in 0..n {
                    let _ = writeln!(out, "    h{i}: H{i},");
                }
                *out += "}\nimpl ByHand {\n    \
                         fn send<Q: Query>(&self, query: Q) -> Q::Response where Self: SendQuery<Q> {\n        \
                         SendQuery::send(self, query)\n    }\n}\n";
                for i in 0..n {
                    let _ = writeln!(
                        out,
                        "impl SendQuery<Q{i}> for ByHand {{\n    \
                         fn send(&self, query: Q{i}) -> usize {{ self.h{i}.handle(query, self) }}\n}}"
                    );
                }
            }
            Bus::Naive => *out += NAIVE,
            _ => {}
        }
    }

    /// The expression that makes the bus.
    fn wiring(self, handlers: Range<usize>, out: &mut String) {
        let in_modules = !matches!(self, Bus::Floor | Bus::Chain | Bus::Closures | Bus::Naive);
        let fields = if self.borrows() { "(&cell)" } else { "" };
        *out += match self {
            Bus::Floor => "ByHand {",
            Bus::Naive => "Naive(End)",
            _ => "BusBuilder::new()",
        };
        for first in handlers.clone().step_by(MODULE) {
            if in_modules {
                *out += "\n        .mount(hlist![";
            }
            for i in first..handlers.end.min(first + MODULE) {
                let _ = match self {
                    Bus::Floor => write!(out, "\n        h{i}: H{i},"),
                    Bus::Chain => write!(out, "\n        .register_query::<Q{i}, _>(H{i})"),
                    Bus::ClosureModules => {
                        write!(out, "\n            on_query_fn(|_: Q{i}| {i}),")
                    }
                    Bus::Closures => write!(out, "\n        .register_query_fn(|_: Q{i}| {i})"),
                    Bus::Naive => write!(out, "\n        .on::<Q{i}, _>(H{i})"),
                    _ => write!(out, "\n            on_query::<Q{i}, _>(H{i}{fields}),"),
                };
            }
            if in_modules {
                *out += "\n        ])";
            }
        }
        for layer in 0..self.layers() {
            let _ = write!(out, "\n        .layer(Pass{layer})");
        }
        *out += match self {
            Bus::Floor => "\n    }",
            Bus::Naive => "",
            _ => "\n        .build()",
        };
    }
}

/// The numbers below `n`, in parts of this size.
fn parts(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n)
        .step_by(size)
        .map(move |first| first..n.min(first + size))
}

/// A text for each number, joined.
fn each(part: &Range<usize>, between: &str, text: impl Fn(usize) -> String) -> String {
    part.clone().map(text).collect::<Vec<_>>().join(between)
}

/// The traits of a program without the library.
const TRAITS: &str = r"
trait Query {
    type Response;
}
trait QueryHandler<Q: Query, B> {
    fn handle(&self, query: Q, bus: &B) -> Q::Response;
}
trait SendQuery<Q: Query> {
    fn send(&self, query: Q) -> Q::Response;
}
";

/// A layer that only calls `next`.
const LAYER: &str = r"
struct Pass;
impl static_bus::layer::Layer for Pass {
    type Around = Pass;
    fn around(&self, _: static_bus::wiring::Registration) -> Pass { Pass }
}
impl<Q: Query, B: ?Sized> static_bus::layer::AroundQuery<Q, B> for Pass {
    fn query(&self, query: Q, _: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response { next(query) }
}
";

/// A list with an index that the compiler infers.
const NAIVE: &str = r"
use std::marker::PhantomData;
struct End;
struct On<Q, H, Next> { handler: H, next: Next, query: PhantomData<Q> }
struct Here;
struct Later<Index>(PhantomData<Index>);
trait Find<Q, Index> {
    type Handler;
    fn find(&self) -> &Self::Handler;
}
impl<Q, H, Next> Find<Q, Here> for On<Q, H, Next> {
    type Handler = H;
    fn find(&self) -> &H { &self.handler }
}
impl<Q, P, H, Next: Find<Q, Index>, Index> Find<Q, Later<Index>> for On<P, H, Next> {
    type Handler = Next::Handler;
    fn find(&self) -> &Next::Handler { self.next.find() }
}
struct Naive<List>(List);
impl<List> Naive<List> {
    fn on<Q, H>(self, handler: H) -> Naive<On<Q, H, List>> {
        Naive(On { handler, next: self.0, query: PhantomData })
    }
    fn send<Q: Query, Index>(&self, query: Q) -> Q::Response
    where
        List: Find<Q, Index, Handler: QueryHandler<Q, Self>>,
    {
        self.0.find().handle(query, self)
    }
}
";
