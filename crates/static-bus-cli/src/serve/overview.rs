//! The overview: groups with lag and rates over time, records that are stuck, and topics.

use std::{sync::Arc, time::Duration};

use axum::extract::{Query, State};
use maud::{Markup, html};
use static_bus_remote::{
    lock::lock,
    transport::{Inspect, Kind},
};

use super::{
    Site,
    history::{COUNTED, GroupKey, History, KEPT, Taken},
    input::Input,
    layout::{Page, Tab},
    sparkline::{self, Line},
};
use crate::{
    report::{Figures, GroupReport, State as GroupState, TopicReport, lag_text, oldest_text},
    text::{self, number, visible},
};

/// The smallest number of samples that fill the width of a chart.
const SHORTEST: usize = 60;
/// The number of intervals after which the next sample is late.
const LATE: u32 = 4;

pub async fn show<T: Inspect>(
    State(site): State<Arc<Site<T>>>,
    Query(input): Query<Input>,
) -> Page {
    let history = lock(&site.history);
    let is_paused = input.refresh == "off";
    let seconds = site.interval.as_secs().max(1);
    let (refresh, content) = match &history.last {
        Some(taken) => (seconds, site.overview(&history, taken, is_paused)),
        None => (1, begin(&history)),
    };
    site.page(
        Tab::Overview,
        "Overview",
        (!is_paused).then_some(refresh),
        &content,
    )
}

/// The page before the first sample.
fn begin(history: &History) -> Markup {
    html! {
        h1 { "Overview" }
        @match &history.error {
            Some(error) => div class="notice bad" role="alert" {
                p { strong { "The broker does not answer." } " It is asked again until it does." }
                p { (visible(&error.to_string())) }
            },
            None => p class="empty" { "The first sample is being taken…" },
        }
    }
}

/// A group with its figures.
struct Row<'r> {
    group: GroupReport,
    key: &'r GroupKey,
}

impl<T: Inspect> Site<T> {
    fn overview(&self, history: &History, taken: &Taken, is_paused: bool) -> Markup {
        let sample = &taken.sample;
        let mut rows = Vec::new();
        for topic in &sample.topics {
            let before = taken.before.as_ref();
            let before = before.and_then(|before| before.topic(&topic.topic));
            for group in GroupReport::all(topic, before, self.stuck_after) {
                let key = (topic.topic.clone(), group.figures.group.clone());
                if let Some((key, _)) = taken.rates.get_key_value(&key) {
                    rows.push(Row { group, key });
                }
            }
        }
        let age = jiff::Timestamp::now().duration_since(sample.time);
        let age = Duration::try_from(age).unwrap_or_default();
        html! {
            div class="title" {
                h1 { "Overview" }
                p class="quiet" {
                    "as of " time datetime=(sample.time) { (text::time(&sample.time.to_string())) " UTC" } " · "
                    @if is_paused { a href="/" { "Resume" } }
                    @else { a href="/?refresh=off" { "Pause" } }
                }
            }
            @if history.error.is_some() || age > self.interval * LATE {
                div class="notice bad" role="alert" {
                    p {
                        strong { "The broker does not answer." }
                        " The figures below are " (text::duration(age)) " old."
                    }
                    @if let Some(error) = &history.error { p { (visible(&error.to_string())) } }
                }
            }
            (tiles(&rows, taken))
            (self.groups(history, taken, &rows))
            (self.stuck(&rows))
            (topics(taken))
        }
    }

    fn groups(&self, history: &History, taken: &Taken, rows: &[Row<'_>]) -> Markup {
        let length = history.length().clamp(SHORTEST, KEPT);
        let span = self.interval * u32::try_from(length).unwrap_or(u32::MAX);
        html! {
            section {
                h2 id="groups" { "Groups" }
                @if rows.is_empty() {
                    p class="empty" { "No groups. A group appears when a worker serves a command or subscribes to an event." }
                } @else {
                    div class="scroll" tabindex="0" { table aria-labelledby="groups" {
                        thead { tr {
                            th scope="col" { "Message" }
                            th scope="col" { "Group" }
                            th scope="col" { "State" }
                            th scope="col" class="number" { "Lag" }
                            th scope="col" class="number" { "Held" }
                            th scope="col" class="number" { "Oldest" }
                            th scope="col" class="number" { "Members" }
                            th scope="col" { "Lag over " (text::duration(span)) }
                            th scope="col" class="number" { "Arriving" }
                            th scope="col" class="number" { "Handled" }
                            th scope="col" {
                                span class="key arriving" { "Arriving" } " and " span class="key handled" { "handled" }
                            }
                        } }
                        tbody { @for row in rows { (group(history, taken, row, length)) } }
                    } }
                }
            }
        }
    }

    /// The records that are stuck.
    fn stuck(&self, rows: &[Row<'_>]) -> Markup {
        let stuck = rows.iter().flat_map(|row| {
            let records = row.group.stuck();
            records.map(move |record| (&row.group.figures, record))
        });
        let stuck: Vec<_> = stuck.collect();
        html! {
            @if !stuck.is_empty() {
                section {
                    h2 id="stuck" { "Stuck records" }
                    p class="quiet" { "Sent more than " (text::duration(self.stuck_after)) " ago, with a member, and there in the sample before." }
                    div class="scroll" tabindex="0" { table aria-labelledby="stuck" {
                        thead { tr {
                            th scope="col" { "Message" }
                            th scope="col" { "Group" }
                            th scope="col" class="number" { "Age" }
                            th scope="col" class="number" { "Deliveries" }
                            th scope="col" { "Member" }
                            th scope="col" { "Place" }
                        } }
                        tbody { @for (group, record) in stuck {
                            tr {
                                (message(group.kind, &group.message))
                                td { (visible(group.group.as_deref().unwrap_or_default())) }
                                td class="number" { (text::duration(Duration::from_secs_f64(record.age_seconds))) }
                                td class="number" { (record.deliveries.map_or("–".to_owned(), number)) }
                                td class="code" { (visible(record.holder.as_deref().unwrap_or_default())) }
                                td class="code" { (visible(&record.place)) }
                            }
                        } }
                    } }
                }
            }
        }
    }
}

/// The sums of all groups.
fn tiles(rows: &[Row<'_>], taken: &Taken) -> Markup {
    let figures = || rows.iter().map(|row| &row.group.figures);
    let sum = |of: fn(&Figures) -> u64| figures().map(of).sum::<u64>();
    let count = |state| figures().filter(|group| group.state == state).count() as u64;
    let (stuck, unserved) = (count(GroupState::Stuck), count(GroupState::NoWorker));
    let letters = taken.dead_letters as u64;
    let more = if taken.dead_letters == COUNTED {
        "+"
    } else {
        ""
    };
    let is_exact = figures().all(|group| group.lag_exact);
    html! {
        dl class="tiles" {
            div { dt { "Lag" } dd { (lag_text(sum(|group| group.lag), is_exact)) } }
            div { dt { "Held" } dd { (number(sum(|group| group.held))) } }
            div class=[(unserved > 0).then_some("bad")] { dt { "Groups without a worker" } dd { (number(unserved)) } }
            div class=[(stuck > 0).then_some("warn")] { dt { "Stuck groups" } dd { (number(stuck)) } }
            div class=[(letters > 0).then_some("warn")] {
                dt { "Dead letters" }
                dd { a href="/dead-letters" { (number(letters)) (more) } }
            }
        }
    }
}

fn group(history: &History, taken: &Taken, row: &Row<'_>, length: usize) -> Markup {
    let Row { group, key } = row;
    let (figures, members) = (&group.figures, group.members.len());
    let rates = taken.rates.get(key).copied().unwrap_or_default();
    let points = history.points(key);
    let line = |class, of: fn(super::history::Point) -> Option<f64>| Line {
        class,
        values: points.clone().map(of).collect(),
    };
    let lag = line("lag", |point| Some(point.backlog));
    let most = lag.values.iter().flatten().copied().fold(0.0, f64::max);
    let lag_label = format!("Lag and held: at most {}", number(most as u64));
    let arriving = line("arriving", |point| point.rates.arriving);
    let handled = line("handled", |point| point.rates.handled);
    let most = |line: &Line| line.values.iter().flatten().copied().reduce(f64::max);
    let rate_label = format!(
        "Arriving: at most {}; handled: at most {}",
        text::rate(most(&arriving)),
        text::rate(most(&handled))
    );
    let (state, class) = (figures.state.as_str(), state_class(figures.state));
    html! {
        tr {
            (message(figures.kind, &figures.message))
            td { (visible(figures.group.as_deref().unwrap_or("–"))) }
            td { span class=(format!("state {class}")) { (state) } }
            td class="number" { (lag_text(figures.lag, figures.lag_exact)) }
            td class="number" { (number(figures.held)) }
            td class="number" { (oldest_text(figures.oldest_seconds)) }
            td class="number" { (number(members as u64)) }
            td { (sparkline::chart(&lag_label, &[lag], length)) }
            td class="number" { (text::rate(rates.arriving)) }
            td class="number" { (text::rate(rates.handled)) }
            td { (sparkline::chart(&rate_label, &[arriving, handled], length)) }
        }
    }
}

fn state_class(state: GroupState) -> &'static str {
    match state {
        GroupState::Idle => "idle",
        GroupState::Busy => "good",
        GroupState::Stuck => "warn",
        GroupState::NoWorker => "bad",
    }
}

fn topics(taken: &Taken) -> Markup {
    let topics = taken.sample.topics.iter();
    let topics = topics.filter(|topic| topic.topic.kind != Kind::DeadLetter);
    let topics: Vec<_> = topics.map(TopicReport::new).collect();
    html! {
        section {
            h2 id="topics" { "Topics" }
            @if topics.is_empty() {
                p class="empty" { "No topics. A topic appears when its first message is sent, or when a worker serves it." }
            } @else {
                div class="scroll" tabindex="0" { table aria-labelledby="topics" {
                    thead { tr {
                        th scope="col" { "Message" }
                        th scope="col" class="number" { "Stored" }
                        th scope="col" class="number" { "Ever sent" }
                        th scope="col" class="number" { "Scheduled" }
                        th scope="col" class="number" { "Partitions" }
                        th scope="col" { "Groups" }
                    } }
                    tbody { @for topic in topics {
                        tr {
                            (message(topic.kind, &topic.message))
                            td class="number" { (number(topic.stored)) }
                            td class="number" { (topic.appended.map_or("–".to_owned(), number)) }
                            td class="number" { (topic.scheduled()) }
                            td class="number" { @if topic.partitions == 0 { "–" } @else { (topic.partitions) } }
                            td { (visible(&topic.groups.join(", "))) }
                        }
                    } }
                } }
            }
        }
    }
}

/// The cell of a message.
fn message(kind: &str, name: &str) -> Markup {
    html! { th scope="row" { span class="kind" { (kind) } " " (visible(name)) } }
}
