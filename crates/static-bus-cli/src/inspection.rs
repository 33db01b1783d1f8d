//! The commands `topics` and `groups`.

use std::{fmt::Write as _, time::Duration};

use static_bus_remote::{
    TransportError,
    transport::{Inspect, Topic, TopicState},
};

use super::{
    args::{Groups, Selection},
    failure::Failure,
    output::{
        Column::{Left, Right},
        Output, Table,
    },
    report::{GroupReport, State, TopicReport, lag_text, oldest_text},
    text,
};

/// Prints the topics.
pub async fn topics<T: Inspect>(
    broker: &T,
    selection: &Selection,
    output: Output,
) -> Result<(), Failure> {
    let states = states(broker, selection).await?;
    let topics: Vec<_> = states.iter().map(TopicReport::new).collect();
    if output.is_json() {
        return Ok(output.objects(&topics)?);
    }
    if topics.is_empty() {
        return Ok(output.print("no topics\n")?);
    }
    let columns = [
        Left("KIND"),
        Left("MESSAGE"),
        Right("STORED"),
        Right("PARTITIONS"),
        Left("GROUPS"),
    ];
    let mut table = Table::new(columns);
    for topic in topics {
        table.row([
            topic.kind.to_owned(),
            text::visible(&topic.message),
            text::number(topic.stored),
            match topic.partitions {
                0 => "–".to_owned(),
                number => number.to_string(),
            },
            text::visible(&topic.groups.join(", ")),
        ]);
    }
    Ok(output.print(&table.to_string())?)
}

/// Prints the groups.
pub async fn groups<T: Inspect>(broker: &T, args: &Groups, output: Output) -> Result<(), Failure> {
    let states = states(broker, &args.selection).await?;
    let groups = select(&states, args);
    if output.is_json() {
        return Ok(output.objects(&groups)?);
    }
    if groups.is_empty() {
        return Ok(output.print("no groups\n")?);
    }
    let columns = [
        Left("MESSAGE"),
        Left("GROUP"),
        Left("STATE"),
        Right("LAG"),
        Right("HELD"),
        Right("OLDEST"),
        Right("MEMBERS"),
    ];
    let mut table = Table::new(columns);
    for group in &groups {
        table.row([
            group.origin(),
            text::visible(group.group.as_deref().unwrap_or("–")),
            group.state.as_str().to_owned(),
            lag_text(group.lag, group.lag_exact),
            text::number(group.held),
            oldest_text(group.oldest_seconds),
            text::number(group.members.len() as u64),
        ]);
    }
    let mut text = table.to_string();
    text.push_str(&stuck(&groups, args.stuck_after));
    Ok(output.print(&text)?)
}

/// The groups of topics that the arguments select.
pub fn select(states: &[TopicState], args: &Groups) -> Vec<GroupReport> {
    let groups = states
        .iter()
        .flat_map(|topic| GroupReport::all(topic, args.stuck_after));
    let is_selected = |group: &GroupReport| args.group.is_none() || group.group == args.group;
    groups.filter(is_selected).collect()
}

/// The lines about records that members have had for too long.
fn stuck(groups: &[GroupReport], stuck_after: Duration) -> String {
    let mut text = String::new();
    for group in groups.iter().filter(|group| group.state == State::Stuck) {
        for record in &group.oldest {
            let age = Duration::from_secs_f64(record.age_seconds);
            let Some(holder) = record.holder.as_deref().filter(|_| age >= stuck_after) else {
                continue;
            };
            if text.is_empty() {
                _ = writeln!(text, "\nstuck:");
            }
            let name = text::visible(group.group.as_deref().unwrap_or_default());
            let (origin, place) = (group.origin(), text::visible(&record.place));
            let host = group.members.iter().find(|m| m.name == holder);
            let host = host.and_then(|member| member.host.as_deref());
            let host = host.map(|host| format!(" on {}", text::visible(host)));
            let deliveries = match record.deliveries {
                Some(1) => ", delivered once".to_owned(),
                Some(n) => format!(", delivered {n} times"),
                None => String::new(),
            };
            _ = writeln!(
                text,
                "  {origin}, {name}: {place}, sent {} ago, is with {}{}{deliveries}",
                text::duration(age),
                text::visible(holder),
                host.unwrap_or_default(),
            );
        }
    }
    text
}

/// The states of the topics that are selected.
pub async fn states<T: Inspect>(
    broker: &T,
    selection: &Selection,
) -> Result<Vec<TopicState>, TransportError> {
    let topics = selected(broker, selection).await?;
    broker.inspect(&topics).await
}

/// The topics that are selected.
pub async fn selected<T: Inspect>(
    broker: &T,
    selection: &Selection,
) -> Result<Vec<Topic>, TransportError> {
    let mut topics = broker.topics().await?;
    if let Some(message) = &selection.message {
        topics.retain(|topic| topic.name == *message || topic.to_string() == *message);
    }
    Ok(topics)
}
