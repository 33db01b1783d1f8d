//! The tables, and their versions.

use std::sync::Arc;

use sqlx::Error;
use static_bus_remote::transport::{TransportError, TransportErrorKind};

use super::{
    dialect::Dialect,
    store::{Row, Session, Store, Work},
};

/// The statements that make each version of the tables of the one before. A version that has been released never changes, but
/// for the functions of PostgreSQL, which a version replaces: a change of them is a further version.
const VERSIONS: [&str; 9] = [
    include_str!("schema/1_queues.sql"),
    include_str!("schema/2_dead_letters.sql"),
    include_str!("schema/3_outbox.sql"),
    include_str!("schema/4_scheduled.sql"),
    include_str!("schema/5_joining.sql"),
    "{functions}",
    "{functions}",
    "{functions}",
    "{functions}",
];

/// Brings the tables of the namespace to the version of this crate.
///
/// # Errors
/// If a newer version of this crate has made them.
pub(crate) async fn migrate<D: Dialect>(
    store: &Arc<Store<D>>,
    namespace: &str,
) -> Result<(), TransportError> {
    let found = store.transact(Migration(&VERSIONS)).await?;
    refuse_newer(store, namespace, found)
}

/// # Errors
/// If a newer version of this crate has made the tables.
fn refuse_newer<D: Dialect>(
    store: &Store<D>,
    namespace: &str,
    found: i64,
) -> Result<(), TransportError> {
    let known = VERSIONS.len() as i64;
    if found <= known {
        return Ok(());
    }
    let reason = format!(
        "the tables of the namespace `{namespace}` have version {found}, and this version of static-bus-sql knows versions \
         up to {known}: upgrade static-bus-sql, or choose another namespace"
    );
    Err(store.error(TransportErrorKind::Refused, reason))
}

const HAS_TABLES: &str = "select count({found_versions})";
const VERSION: &str = "select coalesce(max(version), 0) from {p}schema_version";

/// Checks that the tables of the namespace have the version of this crate, and changes nothing.
///
/// # Errors
/// If there are none, or another version of this crate has made them.
pub(crate) async fn check_version<D: Dialect>(
    store: &Store<D>,
    namespace: &str,
) -> Result<(), TransportError> {
    let int = |rows: Vec<Row<D>>| store.checked(rows[0].int(0));
    if int(store.read(HAS_TABLES, &[]).await?)? == 0 {
        let reason = format!(
            "there are no tables of the namespace `{namespace}`: correct the namespace, or start a service, which makes them"
        );
        return Err(store.error(TransportErrorKind::Refused, reason));
    }
    let found = int(store.read(VERSION, &[]).await?)?;
    refuse_newer(store, namespace, found)?;
    let known = VERSIONS.len() as i64;
    if found == known {
        return Ok(());
    }
    let reason = format!(
        "the tables of the namespace `{namespace}` have version {found}, and this version of static-bus-sql needs version \
         {known}: a service with this version brings them up to date when it connects"
    );
    Err(store.error(TransportErrorKind::Refused, reason))
}

/// Changes nothing, and is refused where nothing can be changed.
const CHANGE: &str = "delete from {p}schema_version where version < 0";

/// Checks that the database answers, and that it can be written to.
pub(crate) struct Check;

impl<D: Dialect> Work<D> for Check {
    type Output = ();

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        session.fetch(CHANGE, &[]).await.map(drop)
    }
}

/// Returns the version that it found.
struct Migration(&'static [&'static str]);

impl<D: Dialect> Work<D> for Migration {
    type Output = i64;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<i64, Error> {
        session.lock("schema", 0).await?;
        session.run("{versions}").await?;
        session.fetch(CHANGE, &[]).await?;
        let rows = session.fetch(VERSION, &[]).await?;
        let found = rows[0].int(0)?;
        for (at, statements) in self
            .0
            .iter()
            .enumerate()
            .skip(usize::try_from(found).unwrap_or(0))
        {
            session.run(statements).await?;
            session
                .fetch(
                    "insert into {p}schema_version (version) values ($1)",
                    &[(at as i64 + 1).into()],
                )
                .await?;
        }
        Ok(found)
    }
}
