create table {p}topic (
    id {serial},
    kind text not null,
    name text not null,
    accepts_until bigint not null default 0,
    unique (kind, name)
);

create table {p}consumer_group (
    id {serial},
    topic_id bigint not null,
    name text not null,
    unique (topic_id, name)
);

create table {p}member (
    id {serial},
    group_id bigint not null,
    name text not null,
    until bigint not null
);
create index {i}member_group on {p}member (group_id);

create table {p}record (
    id {serial},
    topic_id bigint not null,
    strand bigint,
    key {bytes},
    headers {bytes} not null,
    body {bytes} not null,
    appended_at bigint not null,
    expires_at bigint,
    drop_at bigint
) {queue};
create index {i}record_topic on {p}record (topic_id, id);
create index {i}record_drop on {p}record (drop_at) where drop_at is not null;

create table {p}delivery (
    group_id bigint not null,
    record_id bigint not null,
    strand bigint,
    fresh boolean not null,
    member bigint,
    until bigint not null default 0,
    times bigint not null default 0,
    attempts bigint not null default 0,
    primary key (group_id, record_id)
) {clustered};
create index {i}delivery_record on {p}delivery (record_id);
create index {i}delivery_ready on {p}delivery (group_id, record_id) where until = 0 and strand is null;
create index {i}delivery_fresh on {p}delivery (group_id, record_id) where fresh;
create index {i}delivery_leased on {p}delivery (group_id, until) where until > 0;
create index {i}delivery_strand on {p}delivery (group_id, strand, record_id) where strand is not null;
create index {i}delivery_strand_leased on {p}delivery (group_id, strand) where until > 0 and strand is not null;

create table {p}strand (
    group_id bigint not null,
    strand bigint not null,
    head bigint,
    member bigint,
    until bigint not null default 0,
    primary key (group_id, strand)
) {clustered};
create index {i}strand_ready on {p}strand (group_id, member, head) where head is not null;
create index {i}strand_held on {p}strand (group_id, until) where member is not null;

create table {p}claim (
    group_id bigint not null,
    key {bytes} not null,
    member bigint,
    until bigint not null,
    done boolean not null,
    primary key (group_id, key)
) {clustered};
create index {i}claim_until on {p}claim (group_id, until);
create index {i}claim_member on {p}claim (group_id, member) where member is not null
