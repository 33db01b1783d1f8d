//! The numbers of topics.

use std::collections::{BTreeSet, HashMap};

use sqlx::Error;
use static_bus_remote::transport::{Kind, Topic};

use super::{dialect::Dialect, list, store::Session};

const TOPICS: &str = "select t.id, t.kind, t.name, case when t.accepts_until > {now} then 1 else 0 end, \
     case when exists (select 1 from {p}consumer_group as g where g.topic_id = t.id) then 1 else 0 end \
     from {p}topic as t where (t.kind, t.name) in (select {text 0}, {text 1} from {each $1})";

const ADD: &str = "insert into {p}topic (kind, name) select {text 0}, {text 1} from {each $1} \
     where true on conflict (kind, name) do nothing";

#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub id: i64,
    /// `true` if there is a receiver.
    pub accepts: bool,
    pub has_group: bool,
}

/// Topics. Those that `makes` names are made where they are missing.
pub(crate) async fn topics<D: Dialect>(
    session: &mut Session<'_, D>,
    mut missing: BTreeSet<&Topic>,
    makes: fn(Kind) -> bool,
) -> Result<HashMap<Topic, Found>, Error> {
    let mut found = HashMap::with_capacity(missing.len());
    let mut made = false;
    while !missing.is_empty() {
        let names = names(&missing);
        for row in session.fetch(TOPICS, &[(&names).into()]).await? {
            let (kind, name) = (row.text(1)?, row.text(2)?);
            let is_it = |topic: &&&Topic| topic.kind.as_str() == kind && topic.name == name;
            if let Some(topic) = missing.iter().find(is_it).copied() {
                missing.remove(topic);
                let row = Found {
                    id: row.int(0)?,
                    accepts: row.is(3)?,
                    has_group: row.is(4)?,
                };
                found.insert(topic.clone(), row);
            }
        }
        missing.retain(|topic| makes(topic.kind));
        if missing.is_empty() || made {
            break;
        }
        let names = self::names(&missing);
        session.fetch(ADD, &[(&names).into()]).await?;
        made = true;
    }
    Ok(found)
}

/// The number of a topic, which is made if it is missing.
pub(crate) async fn topic<D: Dialect>(
    session: &mut Session<'_, D>,
    topic: &Topic,
) -> Result<i64, Error> {
    let found = topics(session, [topic].into(), |_| true).await?;
    Ok(found.get(topic).ok_or(Error::RowNotFound)?.id)
}

/// Topics as an argument of a statement.
fn names(topics: &BTreeSet<&Topic>) -> String {
    list::texts(topics.iter().map(|t| [t.kind.as_str(), &*t.name]))
}
