create table {p}dead_letter (
    id {serial},
    origin text not null,
    consumer_group text not null,
    service text not null,
    error text not null,
    key {bytes},
    headers {bytes} not null,
    body {bytes} not null,
    appended_at bigint not null,
    expires_at bigint
);
create index {i}dead_letter_origin on {p}dead_letter (origin, id)
