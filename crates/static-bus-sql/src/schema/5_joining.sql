alter table {p}consumer_group add column copied bigint not null default 0;
alter table {p}consumer_group add column copies_until bigint not null default 0;

drop index {p}record_topic;
create index {i}record_topic on {p}record (topic_id, id) where drop_at is not null;

drop index {p}delivery_record;

alter table {p}claim add column forget_at bigint not null default 0;
update {p}claim set forget_at = until;
drop index {p}claim_member;
drop index {p}claim_until;
create index {i}claim_forget on {p}claim (forget_at)
