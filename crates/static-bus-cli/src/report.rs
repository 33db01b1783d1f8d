//! The objects that commands print with `--json`. The names of their fields are stable.

use std::time::Duration;

use serde::Serialize;
use static_bus_remote::{
    DeadLetter,
    transport::{GroupState, Kind, MemberState, Topic, TopicState, UnsettledRecord},
};

use super::text;

/// A topic: `static-bus topics`.
#[derive(Serialize)]
pub struct TopicReport {
    /// `query`, `command`, `event` or `dead-letter`.
    pub kind: &'static str,
    pub message: String,
    /// 0 for a topic without partitions.
    pub partitions: usize,
    pub stored: u64,
    pub appended: Option<u64>,
    pub groups: Vec<String>,
}

/// A group, or a topic without one: `static-bus groups`.
#[derive(Serialize)]
pub struct GroupReport {
    pub kind: &'static str,
    pub message: String,
    /// `null` for a topic of commands without a group: no worker has ever served it.
    pub group: Option<String>,
    pub state: State,
    pub lag: u64,
    /// `false` if the lag is at least this number.
    pub lag_exact: bool,
    pub held: u64,
    /// The age of the oldest record of both; `null` if there is none.
    pub oldest_seconds: Option<f64>,
    pub members: Vec<MemberReport>,
    pub oldest: Vec<RecordReport>,
}

/// The state of a group.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing is to be done.
    Idle,
    /// Records wait, or are handled.
    Busy,
    /// A member has had a record for too long.
    Stuck,
    /// Records wait, and no member would handle them.
    NoWorker,
}

#[derive(Serialize)]
pub struct MemberReport {
    pub name: String,
    pub host: Option<String>,
    pub partitions: Vec<usize>,
}

#[derive(Serialize)]
pub struct RecordReport {
    pub place: String,
    pub age_seconds: f64,
    pub holder: Option<String>,
    pub deliveries: Option<u64>,
}

/// A dead letter: `static-bus dead-letters list`.
#[derive(Serialize)]
pub struct LetterReport {
    pub position: String,
    pub kind: String,
    pub message: String,
    pub group: String,
    pub service: String,
    pub attempts: u32,
    pub error: String,
    pub first_failure: String,
    pub last_failure: String,
    pub place: Option<String>,
}

/// A complete dead letter: `static-bus dead-letters show`.
#[derive(Serialize)]
pub struct LetterDetails {
    #[serde(flatten)]
    pub letter: LetterReport,
    pub key: Option<String>,
    /// The attributes of the message, in their order.
    pub headers: Vec<(String, String)>,
    /// The text, or hexadecimal digits if it is not text.
    pub body: String,
    /// `utf-8` or `hex`.
    pub body_encoding: &'static str,
    /// The bytes of the message that are not stored. If there are any, it cannot be replayed.
    pub omitted: usize,
}

/// The result of `static-bus dead-letters replay` and `discard`.
#[derive(Serialize)]
pub struct ChangeReport {
    /// `replay` or `discard`.
    pub action: &'static str,
    pub done: usize,
    pub failed: usize,
}

/// A sample of a group: `static-bus watch`.
#[derive(Serialize)]
pub struct SampleReport {
    /// RFC 3339.
    pub time: String,
    pub kind: &'static str,
    pub message: String,
    pub group: Option<String>,
    pub state: State,
    pub lag: u64,
    pub lag_exact: bool,
    pub held: u64,
    pub oldest_seconds: Option<f64>,
    pub members: usize,
    /// `null` in the first sample, and where the broker does not count.
    pub arriving_per_second: Option<f64>,
    pub handled_per_second: Option<f64>,
}

impl TopicReport {
    pub fn new(state: &TopicState) -> Self {
        TopicReport {
            kind: state.topic.kind.as_str(),
            message: state.topic.name.to_string(),
            partitions: state.partitions,
            stored: state.stored,
            appended: state.appended,
            groups: state.groups.iter().map(|g| g.group.clone()).collect(),
        }
    }
}

impl GroupReport {
    /// The groups of a topic.
    pub fn all(topic: &TopicState, stuck_after: Duration) -> Vec<Self> {
        let of = |group: &GroupState| GroupReport::new(&topic.topic, group, stuck_after);
        let mut groups: Vec<_> = topic.groups.iter().map(of).collect();
        let is_unserved = topic.topic.kind == Kind::Command && topic.stored > 0;
        if groups.is_empty() && is_unserved {
            let mut unserved = GroupReport::new(&topic.topic, &GroupState::new(""), stuck_after);
            unserved.group = None;
            unserved.lag = topic.stored;
            unserved.state = State::NoWorker;
            groups.push(unserved);
        }
        groups
    }

    fn new(topic: &Topic, group: &GroupState, stuck_after: Duration) -> Self {
        GroupReport {
            kind: topic.kind.as_str(),
            message: topic.name.to_string(),
            group: Some(group.group.clone()),
            state: State::of(group, stuck_after),
            lag: group.backlog.lag,
            lag_exact: group.lag_is_exact,
            held: group.backlog.pending,
            oldest_seconds: group.oldest.first().map(|record| record.age.as_secs_f64()),
            members: group.members.iter().map(MemberReport::new).collect(),
            oldest: group.oldest.iter().map(RecordReport::new).collect(),
        }
    }

    /// The kind and the name of the message.
    pub fn origin(&self) -> String {
        format!("{} {}", self.kind, text::visible(&self.message))
    }
}

impl State {
    fn of(group: &GroupState, stuck_after: Duration) -> Self {
        let backlog = &group.backlog;
        let is_stuck =
            |record: &UnsettledRecord| record.holder.is_some() && record.age >= stuck_after;
        if backlog.pending + backlog.lag == 0 {
            State::Idle
        } else if group.members.is_empty() {
            State::NoWorker
        } else if group.oldest.iter().any(is_stuck) {
            State::Stuck
        } else {
            State::Busy
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Busy => "busy",
            State::Stuck => "stuck",
            State::NoWorker => "no worker",
        }
    }
}

impl MemberReport {
    fn new(member: &MemberState) -> Self {
        MemberReport {
            name: member.name.clone(),
            host: member.host.clone(),
            partitions: member.partitions.clone(),
        }
    }
}

impl RecordReport {
    fn new(record: &UnsettledRecord) -> Self {
        RecordReport {
            place: record.place.clone(),
            age_seconds: record.age.as_secs_f64(),
            holder: record.holder.clone(),
            deliveries: record.deliveries,
        }
    }
}

impl LetterReport {
    pub fn new(letter: &DeadLetter) -> Self {
        let (kind, message) = letter
            .origin
            .split_once(' ')
            .unwrap_or(("", &letter.origin));
        LetterReport {
            position: argument(&letter.position),
            kind: kind.to_owned(),
            message: message.to_owned(),
            group: letter.group.clone(),
            service: letter.service.clone(),
            attempts: letter.attempts,
            error: letter.error.clone(),
            first_failure: letter.first_failure.clone(),
            last_failure: letter.last_failure.clone(),
            place: letter.place.clone(),
        }
    }
}

impl LetterDetails {
    pub fn new(letter: &DeadLetter) -> Self {
        let record = &letter.record;
        let headers = record.headers.iter();
        let (body, body_encoding) = match str::from_utf8(&record.body) {
            Ok(text) => (text.to_owned(), "utf-8"),
            Err(_) => (text::hex(&record.body), "hex"),
        };
        LetterDetails {
            letter: LetterReport::new(letter),
            key: record.key.as_deref().map(str::to_owned),
            headers: headers
                .map(|(n, v)| (n.to_owned(), v.into_owned()))
                .collect(),
            body,
            body_encoding,
            omitted: letter.omitted,
        }
    }
}

/// A position as an argument of a shell and a part of a URL. Positions on Kafka have a space.
pub fn argument(position: &str) -> String {
    position.replace(' ', ":")
}

/// The position of an argument.
pub fn position(argument: &str) -> String {
    argument.replace(':', " ")
}

/// A lag, with a mark if it is a lower bound.
pub fn lag_text(lag: u64, is_exact: bool) -> String {
    let more = if is_exact { "" } else { "+" };
    format!("{}{more}", text::number(lag))
}

/// The age of the oldest record; empty if there is none.
pub fn oldest_text(seconds: Option<f64>) -> String {
    let age = seconds.map(Duration::from_secs_f64);
    age.map(text::duration).unwrap_or_default()
}
