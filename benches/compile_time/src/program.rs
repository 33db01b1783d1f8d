//! The programs that are compiled: N messages, each with a handler, each sent once.

use clap::ValueEnum;
use std::fmt::Write;

/// How many handlers one module has.
const MODULE: usize = 40;

/// How the bus of a program is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// A struct with a field for each handler and an `impl` for each message, written out.
    Floor,
    /// Handler types, mounted in modules of 40.
    Modules,
    /// Handler types, registered in one chain.
    Chain,
    /// Closures, registered in one chain.
    Closures,
    /// A plain list, with an index that the compiler infers.
    Naive,
}

impl Bus {
    pub fn title(self) -> &'static str {
        match self {
            Bus::Floor => "by hand",
            Bus::Modules => "modules of 40",
            Bus::Chain => "one chain",
            Bus::Closures => "closures",
            Bus::Naive => "plain list",
        }
    }

    /// The most handlers it is measured with: closures are for small programs, and the plain list
    /// takes minutes beyond.
    pub fn most(self) -> usize {
        match self {
            Bus::Closures | Bus::Naive => 200,
            Bus::Floor | Bus::Modules | Bus::Chain => usize::MAX,
        }
    }

    /// A program with `n` messages. It asserts at run time that every handler was reached.
    pub fn program(self, n: usize) -> String {
        let mut out = String::new();
        self.items(n, &mut out);
        out += "fn main() {\n    let bus = ";
        self.wiring(n, &mut out);
        out += ";\n    let mut sum = 0;\n";
        for i in 0..n {
            let _ = match self {
                Bus::Naive => writeln!(out, "    sum += bus.send(Q{i});"),
                _ => writeln!(out, "    sum += bus.send::<Q{i}>(Q{i});"),
            };
        }
        let sum = n * n.saturating_sub(1) / 2;
        let _ = write!(out, "    assert_eq!(sum, {sum});\n    let _ = &bus;\n}}\n");
        out
    }

    /// Messages, handlers, and what a bus written by hand needs.
    fn items(self, n: usize, out: &mut String) {
        if self == Bus::Naive {
            *out += "#![recursion_limit = \"1024\"]\n";
        }
        *out += "#![allow(unused)]\nuse static_bus::prelude::*;\n";
        for i in 0..n {
            let _ = writeln!(out, "struct Q{i};\nquery!(Q{i} -> usize);");
            if self != Bus::Closures {
                let _ = writeln!(
                    out,
                    "struct H{i};\nimpl<B> QueryHandler<Q{i}, B> for H{i} {{\n    \
                     fn handle(&self, _: Q{i}, _: &B) -> usize {{ {i} }}\n}}"
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
            Bus::Modules | Bus::Chain | Bus::Closures => {}
        }
    }

    /// The expression that makes the bus.
    fn wiring(self, n: usize, out: &mut String) {
        *out += match self {
            Bus::Floor => "ByHand {",
            Bus::Naive => "Naive(End)",
            Bus::Modules | Bus::Chain | Bus::Closures => "BusBuilder::new()",
        };
        for first in (0..n).step_by(MODULE) {
            let handlers = first..n.min(first + MODULE);
            if self == Bus::Modules {
                *out += "\n        .mount(hlist![";
            }
            for i in handlers {
                let _ = match self {
                    Bus::Floor => write!(out, "\n        h{i}: H{i},"),
                    Bus::Modules => write!(out, "\n            on_query::<Q{i}, _>(H{i}),"),
                    Bus::Chain => write!(out, "\n        .register_query::<Q{i}, _>(H{i})"),
                    Bus::Closures => write!(out, "\n        .register_query_fn(|_: Q{i}| {i})"),
                    Bus::Naive => write!(out, "\n        .on::<Q{i}, _>(H{i})"),
                };
            }
            if self == Bus::Modules {
                *out += "\n        ])";
            }
        }
        *out += match self {
            Bus::Floor => "\n    }",
            Bus::Naive => "",
            Bus::Modules | Bus::Chain | Bus::Closures => "\n        .build()",
        };
    }
}

/// What one would write first.
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
