//! The tables of older versions, and those that several processes make at once.

use sqlx::AssertSqlSafe;
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Kind},
};

use super::{
    connect, home, pool_of, prefixes,
    support::{LONG, append, bodies, command, join, record, topic},
};

/// What makes the first version of the tables of this one: that had no dead letters, no outbox, nothing that is due later, and
/// other indices.
const BACK: [&str; 14] = [
    "drop table {p}dead_letter",
    "drop table {p}outbox",
    "drop table {p}relay",
    "drop table {p}inbox",
    "drop table {p}scheduled",
    "drop table {p}scheduled_outbox",
    "alter table {p}consumer_group drop column copied",
    "alter table {p}consumer_group drop column copies_until",
    "create index {i}delivery_record on {p}delivery (record_id)",
    "drop index {p}claim_forget",
    "alter table {p}claim drop column forget_at",
    "create index {i}claim_until on {p}claim (group_id, until)",
    "create index {i}claim_member on {p}claim (group_id, member) where member is not null",
    "delete from {p}schema_version where version > 1",
];

#[tokio::test]
async fn tables_of_an_older_version_are_migrated_with_their_records() {
    let (_home, told) = home();
    let commands = command("orders.place");
    let transport = connect(&told).await;
    append(&transport, &commands, [record("old")])
        .await
        .unwrap();
    drop(transport);
    let pool = pool_of(&told).await;
    let [p, i] = prefixes(&told);
    let of_namespace = |text: &str| AssertSqlSafe(text.replace("{p}", &p).replace("{i}", &i));
    for statement in BACK {
        let statement = sqlx::query(of_namespace(statement));
        statement.execute(&pool).await.unwrap();
    }

    let transport = connect(&told).await;
    let dead = topic(Kind::DeadLetter, "");
    append(&transport, &dead, [record("dead")]).await.unwrap();
    assert_eq!(transport.dead_letters(None, 10).await.unwrap().len(), 1);
    let member = join(&transport, &commands, "member").await;
    assert_eq!(bodies(&member.receive(10, LONG).await.unwrap()), ["old"]);
    let versions = of_namespace("select version from {p}schema_version order by version");
    let versions = sqlx::query_scalar::<_, i64>(versions);
    let versions = versions.fetch_all(&pool).await.unwrap();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn ten_processes_that_connect_at_once_make_the_tables_once() {
    let (_home, told) = home();
    let connecting = (0..10).map(|_| {
        let told = told.clone();
        tokio::spawn(async move { drop(connect(&told).await) })
    });
    for connected in connecting.collect::<Vec<_>>() {
        connected.await.unwrap();
    }
}
