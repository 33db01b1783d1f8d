create table {p}scheduled (
    id {serial},
    topic_id bigint not null,
    due_at bigint not null,
    cancellation_key {bytes},
    strand bigint,
    key {bytes},
    headers {bytes} not null,
    body {bytes} not null,
    expires_after bigint
) {queue};
create index {i}scheduled_due on {p}scheduled (topic_id, due_at, id);
create unique index {i}scheduled_cancellation on {p}scheduled (topic_id, cancellation_key) where cancellation_key is not null;

create table {p}scheduled_outbox (
    id {serial},
    due_at bigint not null,
    cancellation_key {bytes},
    partition_id bigint not null,
    kind text not null,
    name text not null,
    key {bytes},
    headers {bytes} not null,
    body {bytes} not null
) {queue};
create index {i}scheduled_outbox_due on {p}scheduled_outbox (due_at, id);
create index {i}scheduled_outbox_topic on {p}scheduled_outbox (kind, name, due_at);
create unique index {i}scheduled_outbox_cancellation on {p}scheduled_outbox (kind, name, cancellation_key) where cancellation_key is not null
