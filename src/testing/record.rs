//! What was sent: calls of messages, and in each the handlers that ran.

use super::keep::Kept;
use crate::wiring::{Kind, Registration};
use std::collections::HashMap;
use std::format;
use std::mem::replace;
use std::string::String;
use std::vec::Vec;

/// A message that was sent once.
pub(super) struct Call {
    pub kind: Kind,
    pub message: &'static str,
    pub kept: Kept,
    /// The run of the handler that sent it, or `None` for code outside of the handlers.
    pub sender: Option<usize>,
    /// The runs of its handlers, in order.
    pub runs: Vec<usize>,
}
impl Call {
    /// The message as text: its `Debug` form, or its name.
    pub fn text(&self) -> &str {
        self.kept.text.as_deref().unwrap_or(short(self.message))
    }
    pub fn verb(&self) -> &'static str {
        match self.kind {
            Kind::Query => "send",
            Kind::Command => "execute",
            Kind::Event => "publish",
        }
    }
}

/// One run of a handler.
pub(super) struct Run {
    pub handler: &'static str,
    pub end: End,
    registration: usize,
}
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It runs, or it panicked or was cancelled.
    None,
    Done,
    Failed,
}

/// An event at one address, from one sender.
type Publication = (&'static str, usize, Option<usize>);

/// The number of publications of one event at one address that may be open at a time, by as many threads.
const OPEN: usize = 16;

#[derive(Default)]
pub(super) struct Record {
    pub calls: Vec<Call>,
    pub runs: Vec<Run>,
    /// The calls that each run has sent.
    sent: HashMap<Option<usize>, Vec<usize>>,
    /// The latest calls of each publication: more subscribers may follow.
    open: HashMap<Publication, Vec<usize>>,
    registrations: usize,
    /// The number of times that it was cleared.
    pub generation: usize,
}
impl Record {
    /// The number of one more registration.
    pub fn register(&mut self) -> usize {
        self.registrations += 1;
        self.registrations
    }

    /// Forgets all calls and runs, and returns them, to be dropped where no lock is held.
    pub fn clear(&mut self) -> impl Sized + use<> {
        let empty = Record {
            registrations: self.registrations,
            generation: self.generation + 1,
            ..Record::default()
        };
        replace(self, empty)
    }

    /// Notes the begin of a run. Runs of one event for several subscribers are one call.
    pub fn begin(
        &mut self,
        number: usize,
        registration: &Registration,
        address: usize,
        sender: Option<usize>,
        kept: Kept,
    ) -> usize {
        let run = self.runs.len();
        self.runs.push(Run {
            handler: registration.handler,
            end: End::None,
            registration: number,
        });
        let call = self.calls.len();
        if registration.kind == Kind::Event {
            let publication = (registration.message, address, sender);
            let open = self.open.entry(publication).or_default();
            // The same event at the same place, which this subscriber has not received yet.
            let is_same = |call: &Call| {
                let mut received = call.runs.iter().map(|&run| self.runs[run].registration);
                call.kept.text == kept.text && received.all(|it| it != number)
            };
            if let Some(&same) = open.iter().rev().find(|&&it| is_same(&self.calls[it])) {
                self.calls[same].runs.push(run);
                return run;
            }
            if open.len() == OPEN {
                open.remove(0);
            }
            open.push(call);
        }
        self.sent.entry(sender).or_default().push(call);
        self.calls.push(Call {
            kind: registration.kind,
            message: registration.message,
            kept,
            runs: [run].into(),
            sender,
        });
        run
    }

    /// The calls that this run sent, or that came from outside.
    pub fn sent_by(&self, sender: Option<usize>) -> impl Iterator<Item = &Call> {
        let sent = self.sent.get(&sender).into_iter().flatten();
        sent.map(|&call| &self.calls[call])
    }

    /// All calls as a tree.
    pub fn tree(&self) -> String {
        let mut out = String::new();
        self.branches(None, "", &mut out);
        if out.is_empty() {
            out += "(nothing was sent)\n";
        }
        out
    }
    fn branches(&self, sender: Option<usize>, indent: &str, out: &mut String) {
        for call in self.sent_by(sender) {
            *out += &format!("{indent}{} {}", call.verb(), call.text());
            if let [run] = call.runs[..] {
                *out += " ";
                self.run(run, indent, out);
            } else {
                *out += "\n";
                for &run in &call.runs {
                    *out += &format!("{indent}  ");
                    self.run(run, &format!("{indent}  "), out);
                }
            }
        }
    }
    fn run(&self, run: usize, indent: &str, out: &mut String) {
        let Run { handler, end, .. } = self.runs[run];
        let end = match end {
            End::None => " (did not end)",
            End::Done => "",
            End::Failed => " (failed)",
        };
        *out += &format!("-> {handler}{end}\n");
        self.branches(Some(run), &format!("{indent}  "), out);
    }
}

/// A name without its path.
pub(super) fn short(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}
