create table {p}outbox (
    id {serial},
    partition_id bigint not null,
    kind text not null,
    name text not null,
    key {bytes},
    headers {bytes} not null,
    body {bytes} not null,
    appended_at bigint not null
) {queue};
create index {i}outbox_partition on {p}outbox (partition_id, id);

create table {p}relay (
    partition_id bigint primary key,
    member bigint,
    until bigint not null default 0
);

create table {p}inbox (
    consumer text not null,
    key {bytes} not null,
    until bigint not null,
    primary key (consumer, key)
) {clustered};
create index {i}inbox_until on {p}inbox (until)
