//! The commands `topics` and `groups`.

use std::{fmt::Write as _, time::Duration};

use static_bus_remote::{
    TransportError,
    transport::{Inspect, Topic, TopicState},
};

use tokio::time::sleep;

use super::{
    args::{Groups, Selection},
    failure::Failure,
    output::{
        Column::{Left, Right},
        Output, Table,
    },
    report::{Figures, GroupReport, TopicReport, is_suspect},
    text,
};

/// The time between two looks at records that may be stuck.
const LOOK: Duration = Duration::from_secs(1);

/// Prints the topics.
pub async fn topics<T: Inspect>(
    broker: &T,
    selection: &Selection,
    output: Output,
) -> Result<(), Failure> {
    let states = broker.inspect(&selected(broker, selection).await?).await?;
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
        Right("SCHEDULED"),
        Right("PARTITIONS"),
        Left("GROUPS"),
    ];
    let mut table = Table::new(columns);
    for topic in topics {
        table.row([
            topic.kind.to_owned(),
            text::visible(&topic.message),
            text::number(topic.stored),
            topic.scheduled(),
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
    let topics = selected(broker, &args.selection).await?;
    let before = broker.inspect(&topics).await?;
    let mut records = before
        .iter()
        .flat_map(|t| &t.groups)
        .flat_map(|g| &g.oldest);
    let groups = if records.any(|record| is_suspect(record, args.stuck_after)) {
        sleep(LOOK).await;
        select(&broker.inspect(&topics).await?, &before, args)
    } else {
        select(&before, &[], args)
    };
    if output.is_json() {
        return Ok(output.objects(&groups)?);
    }
    if groups.is_empty() {
        return Ok(output.print("no groups\n")?);
    }
    let mut table = Table::new(Figures::COLUMNS);
    for group in &groups {
        table.row(group.figures.cells(group.members.len()));
    }
    let mut text = table.to_string();
    text.push_str(&stuck(&groups));
    Ok(output.print(&text)?)
}

/// The groups of topics that the arguments select. `before` are the topics in the look before this one.
pub fn select(states: &[TopicState], before: &[TopicState], args: &Groups) -> Vec<GroupReport> {
    let groups = states.iter().flat_map(|topic| {
        let before = before.iter().find(|before| before.topic == topic.topic);
        GroupReport::all(topic, before, args.stuck_after)
    });
    let is_selected =
        |group: &GroupReport| args.group.is_none() || group.figures.group == args.group;
    groups.filter(is_selected).collect()
}

/// The lines about records that are stuck.
fn stuck(groups: &[GroupReport]) -> String {
    let mut text = String::new();
    for group in groups {
        for record in group.stuck() {
            let age = Duration::from_secs_f64(record.age_seconds);
            let holder = record.holder.as_deref().unwrap_or_default();
            if text.is_empty() {
                _ = writeln!(text, "\nstuck:");
            }
            let name = text::visible(group.figures.group.as_deref().unwrap_or_default());
            let (origin, place) = (group.figures.origin(), text::visible(&record.place));
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
