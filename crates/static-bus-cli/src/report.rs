//! The objects that commands print with `--json`. The names of their fields are stable.

use std::time::Duration;

use serde::Serialize;
use static_bus_remote::{
    DeadLetter,
    transport::{GroupState, Kind, MemberState, Topic, TopicState, UnsettledRecord},
};

use super::{
    output::Column::{self, Left, Right},
    text,
};

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
    /// The number of records that are due later.
    pub scheduled: u64,
    /// The time until the next of them is due; `null` if there are none.
    pub next_due_seconds: Option<f64>,
    pub groups: Vec<String>,
}

/// The figures of a group, or of a topic without one.
#[derive(Serialize)]
pub struct Figures {
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
}

/// A group: `static-bus groups`.
#[derive(Serialize)]
pub struct GroupReport {
    #[serde(flatten)]
    pub figures: Figures,
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
    /// A member has an old record, and has had it before.
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
    /// The time since it was sent.
    pub age_seconds: f64,
    /// It is old, a member has it, and it was there in the look before.
    pub stuck: bool,
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
    #[serde(flatten)]
    pub figures: Figures,
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
            scheduled: state.scheduled,
            next_due_seconds: state.next_due.map(|time| time.as_secs_f64()),
            groups: state.groups.iter().map(|g| g.group.clone()).collect(),
        }
    }

    /// The number of scheduled records, and when the next one is due.
    pub fn scheduled(&self) -> String {
        let number = text::number(self.scheduled);
        match self.next_due_seconds {
            Some(seconds) => {
                let time = text::duration(Duration::from_secs_f64(seconds));
                format!("{number}, next in {time}")
            }
            None => number,
        }
    }
}

impl Figures {
    /// The columns of a table of groups.
    pub const COLUMNS: [Column; 7] = [
        Left("MESSAGE"),
        Left("GROUP"),
        Left("STATE"),
        Right("LAG"),
        Right("HELD"),
        Right("OLDEST"),
        Right("MEMBERS"),
    ];

    /// The cells of a row.
    pub fn cells(&self, members: usize) -> [String; 7] {
        [
            self.origin(),
            text::visible(self.group.as_deref().unwrap_or("–")),
            self.state.as_str().to_owned(),
            lag_text(self.lag, self.lag_exact),
            text::number(self.held),
            oldest_text(self.oldest_seconds),
            text::number(members as u64),
        ]
    }

    /// The kind and the name of the message.
    pub fn origin(&self) -> String {
        format!("{} {}", self.kind, text::visible(&self.message))
    }
}

impl GroupReport {
    /// The groups of a topic. `before` is the topic in the look before this one.
    pub fn all(
        topic: &TopicState,
        before: Option<&TopicState>,
        stuck_after: Duration,
    ) -> Vec<Self> {
        let of = |group: &GroupState| {
            let mut earlier = before.into_iter().flat_map(|topic| &topic.groups);
            let earlier = earlier.find(|earlier| earlier.group == group.group);
            GroupReport::new(&topic.topic, group, earlier, stuck_after)
        };
        let mut groups: Vec<_> = topic.groups.iter().map(of).collect();
        let is_unserved = topic.topic.kind == Kind::Command && topic.stored > 0;
        if groups.is_empty() && is_unserved {
            let mut unserved = of(&GroupState::new(""));
            unserved.figures.group = None;
            unserved.figures.lag = topic.stored;
            unserved.figures.state = State::NoWorker;
            groups.push(unserved);
        }
        groups
    }

    fn new(
        topic: &Topic,
        group: &GroupState,
        before: Option<&GroupState>,
        stuck_after: Duration,
    ) -> Self {
        let is_stuck = |record: &UnsettledRecord| {
            let mut earlier = before.into_iter().flat_map(|group| &group.oldest);
            let was_held = |r: &UnsettledRecord| r.place == record.place && r.holder.is_some();
            is_suspect(record, stuck_after) && earlier.any(was_held)
        };
        let record = |record| RecordReport::new(record, is_stuck(record));
        let oldest: Vec<_> = group.oldest.iter().map(record).collect();
        let backlog = &group.backlog;
        GroupReport {
            figures: Figures {
                kind: topic.kind.as_str(),
                message: topic.name.to_string(),
                group: Some(group.group.clone()),
                state: if backlog.pending + backlog.lag == 0 {
                    State::Idle
                } else if group.members.is_empty() {
                    State::NoWorker
                } else if oldest.iter().any(|record| record.stuck) {
                    State::Stuck
                } else {
                    State::Busy
                },
                lag: backlog.lag,
                lag_exact: group.lag_is_exact,
                held: backlog.pending,
                oldest_seconds: oldest.first().map(|record| record.age_seconds),
            },
            members: group.members.iter().map(MemberReport::new).collect(),
            oldest,
        }
    }

    /// The records that are stuck, if the group is.
    pub fn stuck(&self) -> impl Iterator<Item = &RecordReport> {
        let is_stuck = self.figures.state == State::Stuck;
        self.oldest.iter().filter(move |r| is_stuck && r.stuck)
    }
}

/// Returns `true` if a record is stuck, provided that it was there in the look before.
pub fn is_suspect(record: &UnsettledRecord, stuck_after: Duration) -> bool {
    record.holder.is_some() && record.age >= stuck_after
}

impl State {
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
    fn new(record: &UnsettledRecord, stuck: bool) -> Self {
        RecordReport {
            place: record.place.clone(),
            age_seconds: record.age.as_secs_f64(),
            stuck,
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A topic with a group that has these records: the place, the age in minutes, and the holder.
    fn topic(records: &[(&str, u32, Option<&str>)]) -> TopicState {
        let mut group = GroupState::new("handlers");
        group.backlog.pending = records.len() as u64;
        group.members.push(MemberState::new("m"));
        group.oldest = records
            .iter()
            .map(|(place, age, holder)| {
                let mut record = UnsettledRecord::new(*place, *age * MINUTE);
                record.holder = holder.map(str::to_owned);
                record
            })
            .collect();
        let mut topic = TopicState::new(Topic {
            kind: Kind::Command,
            name: "a".into(),
        });
        topic.groups.push(group);
        topic
    }

    #[test]
    fn a_record_is_stuck_if_it_is_old_and_with_a_member_and_does_not_move() {
        let state = |now: &TopicState, before: Option<&TopicState>| {
            let group = GroupReport::all(now, before, MINUTE).remove(0);
            let stuck: Vec<_> = group.stuck().map(|record| record.place.clone()).collect();
            assert_eq!(stuck.is_empty(), group.figures.state != State::Stuck);
            (group.figures.state, stuck.join(" "))
        };
        let stuck = |places: &str| (State::Stuck, places.to_owned());
        let busy = (State::Busy, String::new());
        let old = topic(&[("1", 3, Some("m")), ("2", 2, Some("m"))]);
        assert_eq!(state(&old, Some(&old)), stuck("1 2"));
        assert_eq!(state(&old, None), busy, "there was no look before");
        let caught_up = topic(&[("8", 3, Some("m")), ("9", 3, Some("m"))]);
        assert_eq!(state(&caught_up, Some(&old)), busy, "the records move");
        let moved = topic(&[("2", 3, Some("other")), ("9", 3, Some("m"))]);
        assert_eq!(
            state(&moved, Some(&old)),
            stuck("2"),
            "from member to member"
        );
        let waits = topic(&[("1", 3, None)]);
        assert_eq!(state(&waits, Some(&waits)), busy, "no member has it");
        assert_eq!(state(&old, Some(&waits)), busy, "it waited until now");
        let young = topic(&[("1", 0, Some("m"))]);
        assert_eq!(state(&young, Some(&young)), busy);
        let mut left = old.clone();
        left.groups[0].members.clear();
        assert_eq!(state(&left, Some(&left)), (State::NoWorker, String::new()));
    }
}
