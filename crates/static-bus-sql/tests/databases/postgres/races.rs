//! Statements that wait for a row which another transaction changes: they must hold for the row as it is then, and not for the row that
//! they have found.

use std::{pin::pin, time::Duration};

use sqlx::{AssertSqlSafe, Postgres as Database};
use static_bus_remote::{
    MemoryBroker, Transport as _,
    transport::{
        Claim, Consumer as _, Delivery, Due, Lease, Record, Subscription, Transactional as _,
    },
    with_scope,
};
use static_bus_sql::{PostgresTransport, SqlConsumer, SqlReceipt, transaction};

use super::{
    fresh,
    inbox::eventually,
    pool,
    support::{LONG, append, bodies, command, join, keyed, record},
};

/// The length of a lease that runs out, and a pause that is longer.
const SHORT: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(20);

/// Makes the changes in a transaction that stays open until the call waits for it, or has ended. Returns the result of the call.
async fn overtaken<T>(changes: String, call: impl Future<Output = T>) -> T {
    let pool = pool().await;
    let mut open = pool.begin().await.unwrap();
    let id = sqlx::query_scalar::<_, i32>("select pg_backend_pid()");
    let id = id.fetch_one(&mut *open).await.unwrap();
    let changes = sqlx::raw_sql(AssertSqlSafe(changes));
    changes.execute(&mut *open).await.unwrap();
    let waits = async {
        eventually("the call waits", async || {
            let waiting =
                "select count(*) from pg_stat_activity where $1 = any (pg_blocking_pids(pid))";
            let waiting = sqlx::query_scalar::<_, i64>(waiting).bind(id);
            waiting.fetch_one(&pool).await.unwrap() > 0
        })
        .await;
    };
    let mut call = pin!(call);
    let early = tokio::select! {
        output = &mut call => Some(output),
        () = waits => None,
    };
    open.commit().await.unwrap();
    match early {
        Some(output) => output,
        None => call.await,
    }
}

async fn int(query: String) -> i64 {
    let query = sqlx::query_scalar(AssertSqlSafe(query));
    query.fetch_one(&pool().await).await.unwrap()
}

/// A member whose leases and claims run out at once.
async fn hasty(transport: &PostgresTransport) -> SqlConsumer<Database> {
    let subscription = Subscription::new(command("orders.place"), "handlers", "hasty");
    let subscription = subscription.with_lease(SHORT);
    transport.consume(subscription).await.unwrap()
}

async fn claim(member: &SqlConsumer<Database>, key: &str) -> Claim {
    member.claim(&[key.into()]).await.unwrap()[0]
}

/// A member that has leased a record and claimed its key.
struct Held {
    namespace: String,
    member: SqlConsumer<Database>,
    lease: [Lease<SqlReceipt>; 1],
}

impl Held {
    async fn new() -> Self {
        let (namespace, transport) = fresh().await;
        let topic = command("orders.place");
        let member = join(&transport, &topic, "member").await;
        Held {
            namespace,
            lease: [held(&transport, &member, "a key").await],
            member,
        }
    }
}

/// The lease of a record that a member has received and of which it has claimed the key.
async fn held(
    transport: &PostgresTransport,
    member: &SqlConsumer<Database>,
    key: &str,
) -> Lease<SqlReceipt> {
    let topic = command("orders.place");
    append(transport, &topic, [record(1)]).await.unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    assert_eq!(claim(member, key).await, Claim::Granted);
    lease(&got[0], key)
}

fn lease(delivery: &Delivery<SqlReceipt>, claim: &str) -> Lease<SqlReceipt> {
    Lease {
        receipt: delivery.receipt,
        claim: Some(claim.into()),
    }
}

/// What the end of a handler does with the key of its message.
fn confirm(namespace: &str) -> String {
    format!(
        "update {namespace}.claim set member = null, done = true, until = until + 600000 where key = 'a key'"
    )
}

#[tokio::test]
async fn a_key_that_is_confirmed_while_its_claim_is_forgotten_stays_confirmed() {
    let (namespace, transport) = fresh().await;
    let member = hasty(&transport).await;
    assert_eq!(claim(&member, "a key").await, Claim::Granted);
    tokio::time::sleep(LATER).await;
    let handled = [held(&transport, &member, "another key").await];
    let acknowledged = overtaken(confirm(&namespace), member.acknowledge(&handled)).await;
    acknowledged.unwrap();
    assert_eq!(claim(&member, "a key").await, Claim::Done);
}

#[tokio::test]
async fn a_key_that_is_confirmed_while_its_record_is_released_stays_confirmed() {
    let Held {
        namespace,
        member,
        lease,
    } = Held::new().await;
    let released = overtaken(confirm(&namespace), member.release(&lease)).await;
    released.unwrap();
    assert_eq!(claim(&member, "a key").await, Claim::Done);
}

#[tokio::test]
async fn a_key_that_is_confirmed_while_its_claim_is_renewed_is_remembered_for_as_long_as_it_is_to_be()
 {
    let Held {
        namespace,
        member,
        lease,
    } = Held::new().await;
    let renew = async { member.renew(&lease).await.unwrap() };
    overtaken(confirm(&namespace), renew).await;
    let left = "(until - extract(epoch from now()) * 1000)::bigint";
    let left = int(format!("select {left} from {namespace}.claim")).await;
    assert!(left > 300_000, "{left} ms");
}

#[tokio::test]
async fn a_key_that_is_remembered_again_while_the_inbox_forgets_it_stays_remembered() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    let broker = MemoryBroker::new();
    let outbox = transport.outbox(broker.clone());
    append(&broker, &topic, (0..3).map(record)).await.unwrap();
    let subscription = Subscription::new(topic, "handlers", "member");
    let window = Duration::from_secs(600);
    let member = outbox
        .consume(subscription.with_deduplication(window))
        .await
        .unwrap();
    let got = member.receive(3, LONG).await.unwrap();
    let handle = async |at: usize, key: &str| {
        let scope = member.begin(&got[at].receipt).unwrap();
        with_scope(scope.clone(), async {
            transaction::<Database>().await.unwrap();
        })
        .await;
        let lease = Lease {
            receipt: got[at].receipt.clone(),
            claim: Some(key.into()),
        };
        member.finish(&lease, &scope).await.unwrap();
    };
    handle(0, "a key").await;
    let run_out = format!("update {namespace}.inbox set until = 1");
    sqlx::raw_sql(AssertSqlSafe(run_out))
        .execute(&pool().await)
        .await
        .unwrap();
    let again = format!("update {namespace}.inbox set until = until + 9000000000000");
    overtaken(again, handle(1, "another key")).await;
    let remembered = format!("select count(*) from {namespace}.inbox where key = 'a key'");
    assert_eq!(int(remembered).await, 1);
}

#[tokio::test]
async fn keys_that_have_run_out_keep_nobody_waiting() {
    let (namespace, transport) = fresh().await;
    let member = hasty(&transport).await;
    for n in 0..5 {
        assert_eq!(claim(&member, &n.to_string()).await, Claim::Granted);
    }
    tokio::time::sleep(LATER).await;
    let pool = pool().await;
    let mut open = pool.begin().await.unwrap();
    let forget = format!("delete from {namespace}.claim");
    let forget = sqlx::raw_sql(AssertSqlSafe(forget));
    forget.execute(&mut *open).await.unwrap();
    let handled = [held(&transport, &member, "a key").await];
    member.acknowledge(&handled).await.unwrap();
    open.commit().await.unwrap();
}

#[tokio::test]
async fn a_renewal_and_a_release_that_wait_for_a_key_hold_no_record() {
    let Held {
        namespace,
        member,
        lease,
    } = Held::new().await;
    // The end of a handler: the key, and then the record.
    let pool = pool().await;
    for end in [true, false] {
        let mut open = pool.begin().await.unwrap();
        let key = format!("update {namespace}.claim set until = until + 1");
        let key = sqlx::raw_sql(AssertSqlSafe(key));
        key.execute(&mut *open).await.unwrap();
        let call = async {
            match end {
                true => member.renew(&lease).await.unwrap(),
                false => member.release(&lease).await.unwrap(),
            }
        };
        let end = async {
            let waiting = format!(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%{namespace}.claim%'"
            );
            eventually("it waits", async || int(waiting.clone()).await > 0).await;
            let record = format!("select 1 from {namespace}.delivery for update nowait");
            let record = sqlx::raw_sql(AssertSqlSafe(record));
            record.execute(&mut *open).await.unwrap();
            open.commit().await.unwrap();
        };
        tokio::join!(call, end);
    }
}

#[tokio::test]
async fn a_lease_that_is_renewed_while_it_runs_out_is_kept() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    append(&transport, &topic, [record(1)]).await.unwrap();
    let first = hasty(&transport).await;
    assert_eq!(first.receive(1, LONG).await.unwrap().len(), 1);
    let second = join(&transport, &topic, "second").await;
    tokio::time::sleep(LATER).await;
    let renew = format!("update {namespace}.delivery set until = until + 600000");
    let got = overtaken(renew, second.receive(1, Duration::ZERO)).await;
    assert_eq!(bodies(&got.unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_record_that_is_acknowledged_while_its_lease_is_renewed_does_not_come_again() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    // The other group keeps the record.
    let auditors = Subscription::new(topic.clone(), "auditors", "auditor");
    let _auditor = transport.consume(auditors).await.unwrap();
    let member = join(&transport, &topic, "member").await;
    let held = [held(&transport, &member, "a key").await];
    let renew = format!("update {namespace}.delivery set until = until + 1 where until > 0");
    let acknowledged = overtaken(renew, member.acknowledge(&held)).await;
    acknowledged.unwrap();
    let backlog = member.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (0, 0));
}

#[tokio::test]
async fn a_strand_that_is_renewed_while_it_runs_out_is_kept() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    let both = [1, 2].map(|n| keyed("a key", n));
    append(&transport, &topic, both).await.unwrap();
    let first = hasty(&transport).await;
    assert_eq!(bodies(&first.receive(1, LONG).await.unwrap()), ["1"]);
    let second = join(&transport, &topic, "second").await;
    tokio::time::sleep(LATER).await;
    let renew = [
        "delivery set until = until + 600000 where until > 0",
        "strand set until = until + 600000",
    ];
    let renew = renew
        .map(|change| format!("update {namespace}.{change};"))
        .concat();
    let got = overtaken(renew, second.receive(1, Duration::ZERO)).await;
    assert_eq!(bodies(&got.unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_partition_that_another_relay_takes_first_is_left_to_it() {
    let (namespace, transport) = fresh().await;
    let outbox = transport.outbox(MemoryBroker::new());
    // It makes the partitions, and leaves.
    outbox
        .relay()
        .start()
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
    let take = format!(
        "update {namespace}.relay set member = 0, until = 9000000000000 where partition_id = 3"
    );
    let relay = overtaken(take, async {
        let relay = outbox.relay().start().await.unwrap();
        eventually("it has the others", async || {
            relay.health().await.partitions == 15
        })
        .await;
        relay
    })
    .await;
    let member = format!("select member from {namespace}.relay where partition_id = 3");
    assert_eq!(int(member).await, 0);
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_group_that_joins_while_another_one_settles_a_record_does_not_wait_for_it() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    append(&transport, &topic, [record(1)]).await.unwrap();
    let member = join(&transport, &topic, "member").await;
    let got = member.receive(1, LONG).await.unwrap();
    // The new group copies the record, and then waits for the table of members.
    let members = format!("lock table {namespace}.member in exclusive mode");
    let new = async {
        let subscription = Subscription::new(topic.clone(), "auditors", "auditor");
        transport.consume(subscription).await.unwrap()
    };
    let settle = async {
        let copied = format!(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%{namespace}.member%'"
        );
        eventually("the record is copied", async || {
            int(copied.clone()).await > 0
        })
        .await;
        member
            .acknowledge(&[Lease {
                receipt: got[0].receipt,
                claim: None,
            }])
            .await
            .unwrap();
    };
    let pool = pool().await;
    let mut open = pool.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(members))
        .execute(&mut *open)
        .await
        .unwrap();
    let settle = async {
        settle.await;
        open.commit().await.unwrap();
    };
    let (auditor, ()) = tokio::join!(new, settle);
    assert!(auditor.receive(1, Duration::ZERO).await.unwrap().is_empty());
    let left = auditor.backlog().await.unwrap();
    assert_eq!(left.lag + left.pending, 0, "records that wait");
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_has_failed_is_not_reported_as_committed() {
    let (_, transport) = fresh().await;
    let swallowed = async {
        let mut transaction = transaction::<Database>().await.unwrap();
        let failed = sqlx::query("select 1 / 0").execute(&mut *transaction).await;
        failed.unwrap_err();
        Ok::<_, ()>(())
    };
    let error = transport.transact(swallowed).await.unwrap_err();
    let expected =
        "current transaction is aborted, commands ignored until end of transaction block: ";
    assert!(error.reason().starts_with(expected), "{error}");
}

#[tokio::test]
async fn two_transactions_with_the_same_cancellation_keys_in_another_order_do_not_wait_for_each_other_in_a_circle()
 {
    let (namespace, transport) = fresh().await;
    let outbox = transport.outbox(MemoryBroker::new());
    // Each row takes long enough for the other transaction to have its first one.
    let slow = format!(
        "create function {namespace}.slow() returns trigger language plpgsql as \
         $$ begin perform pg_sleep(0.5); return new; end $$; \
         create trigger slow before insert or update on {namespace}.scheduled for each row execute function {namespace}.slow(); \
         create trigger slow before insert or update on {namespace}.scheduled_outbox for each row execute function {namespace}.slow()"
    );
    let pool = pool().await;
    sqlx::raw_sql(AssertSqlSafe(slow))
        .execute(&pool)
        .await
        .unwrap();
    let topic = command("orders.expire");
    let records = |keys: [&str; 2]| -> Vec<_> {
        let due = keys.map(|key| Due::after(LONG).with_key(key));
        let record = |due| Record {
            due: Some(due),
            ..record(1)
        };
        due.map(|due| (topic.clone(), record(due))).into()
    };
    for _ in 0..2 {
        let within = async |keys| {
            let mut transaction = pool.begin().await.unwrap();
            let (queues, later) = (records(keys), records(keys));
            transport
                .append_within(&mut transaction, queues)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
            let mut transaction = pool.begin().await.unwrap();
            outbox.append_within(&mut transaction, later).await.unwrap();
            transaction.commit().await.unwrap();
        };
        tokio::join!(within(["a", "b"]), within(["b", "a"]));
    }
}
