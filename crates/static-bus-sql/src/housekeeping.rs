//! The removal of what nobody will ask for.

use std::{sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::TransportError;
use tokio::time::sleep;

use super::{
    dialect::Dialect,
    settle::is_settled,
    store::{Session, Store, Work},
};

const INTERVAL: Duration = Duration::from_secs(10);

/// The condition of a topic `t` of replies to a process that is gone.
macro_rules! is_gone {
    () => {
        "t.kind = 'reply' and t.accepts_until < {now} - 600000 \
         and not exists (select 1 from {p}record as r where r.topic_id = t.id and r.drop_at is not null)"
    };
}

/// Replies to a process that is gone, and queries that have expired; then topics of such replies.
const IS_ANY: &str = concat!(
    "select 1 where exists (select 1 from {p}record where drop_at <= {now}) or exists (select 1 from {p}topic as t where ",
    is_gone!(),
    ")"
);
const REMOVE: &str = "delete from {p}record where id in \
     (select id from {p}record where drop_at <= {now} order by drop_at limit 1000)";

/// Records that all groups have settled, of a process that ended before it removed them.
const LEFT: &str = concat!(
    "select max(id), count(case when is_left then 1 end) from (select r.id, r.drop_at is null and ",
    is_settled!(),
    " as is_left from {p}record as r where r.id > $1 order by r.id limit 1000) as looked_at"
);
const REMOVE_LEFT: &str = concat!(
    "delete from {p}record as r where r.id > $1 and r.id <= $2 and r.drop_at is null and ",
    is_settled!()
);

const REMOVE_TOPICS: &str = concat!("delete from {p}topic as t where ", is_gone!());

/// Removes queries and replies that have expired, until it is dropped.
pub(crate) async fn run<D: Dialect>(store: Arc<Store<D>>) {
    let mut looked_at = 0;
    loop {
        sleep(INTERVAL).await;
        looked_at = remove_left(&store, looked_at).await.unwrap_or(looked_at);
        // An error of the database is that of other calls as well.
        while store
            .read(IS_ANY, &[])
            .await
            .is_ok_and(|rows| !rows.is_empty())
        {
            if store.transact(Sweep).await.is_err() {
                break;
            }
        }
    }
}

/// Looks at a thousand records, after those of the last time. Returns the number of the last one, or 0 when all were looked at.
async fn remove_left<D: Dialect>(store: &Arc<Store<D>>, after: i64) -> Result<i64, TransportError> {
    let rows = store.read(LEFT, &[after.into()]).await?;
    let (last, left) = (
        store.checked(rows[0].int(0))?,
        store.checked(rows[0].int(1))?,
    );
    if left > 0 {
        store.transact(Left { after, last }).await?;
    }
    Ok(last)
}

struct Left {
    after: i64,
    last: i64,
}

impl<D: Dialect> Work<D> for Left {
    type Output = ();

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let arguments = [self.after.into(), self.last.into()];
        session.fetch(REMOVE_LEFT, &arguments).await.map(drop)
    }
}

struct Sweep;

impl<D: Dialect> Work<D> for Sweep {
    type Output = ();

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        session.fetch(REMOVE, &[]).await?;
        session.fetch(REMOVE_TOPICS, &[]).await.map(drop)
    }
}
