-- Functions of PostgreSQL: several statements in one round trip, each call a transaction of its own. A lock that is waited for
-- for longer than the last argument, in milliseconds, is an error; it is null in a transaction that has a limit. A function whose arguments
-- change stays beside the new one: processes of an older version that are connected go on to call it.
--
-- Queues are long one minute and empty the next, and the plan of a statement is that of another minute. So rows are found one by one,
-- or in the order of an index, and changed by their location: there is no other plan that could pass a backlog. A plan that is not
-- allowed, as the scan of an empty table, counts as expensive, and might be compiled.

-- Room for the confirmation of each claim: it is then on the page of the claim, and changes no index.
alter table {p}claim set (fillfactor = 50);

-- Appends records to topics, those of each record by its place in the list. Returns the number of each topic; none if its records
-- were not appended: queries without a receiver, and events without a group.
create or replace function {p}append(kinds text[], names text[], places bigint[], strands bigint[], keys bytea[], headers bytea[],
    bodies bytea[], expires bigint[], dropped bigint[], is_durable bigint, deadline bigint) returns setof bigint
language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
declare
    now constant bigint := {now};
    ids bigint[];
    is_missing boolean;
begin
    if deadline is not null then
        perform set_config('lock_timeout', deadline::text, true);
    end if;
    if is_durable = 0 then
        perform set_config('synchronous_commit', 'off', true);
    end if;
    for attempt in 1..2 loop
        select array_agg(case
                when t.kind = 'query' and t.accepts_until <= now then null
                when t.kind = 'event' and not exists (select from {p}consumer_group as g where g.topic_id = t.id) then null
                else t.id end order by named.place),
            coalesce(bool_or(t.id is null and named.kind in ('command', 'reply')), false)
        into ids, is_missing
        from unnest(kinds, names) with ordinality as named (kind, name, place)
        left join {p}topic as t on t.kind = named.kind and t.name = named.name;
        exit when not is_missing;
        insert into {p}topic (kind, name) select kind, name from unnest(kinds, names) as named (kind, name)
            where kind in ('command', 'reply') on conflict do nothing;
    end loop;
    if is_missing then
        raise serialization_failure;
    end if;
    with appended as (
        insert into {p}record (topic_id, strand, key, headers, body, appended_at, expires_at, drop_at)
        select ids[places[n]], strands[n], keys[n], headers[n], bodies[n], now, now + expires[n], now + dropped[n]
        from generate_series(1, cardinality(places)) as rows (n)
        where ids[places[n]] is not null
        returning id, topic_id, strand, drop_at
    )
    insert into {p}delivery (group_id, record_id, strand, fresh)
    select coalesce(g.id, -r.topic_id), r.id, r.strand, r.strand is not null
    from appended as r left join {p}consumer_group as g on g.topic_id = r.topic_id where r.drop_at is null;
    perform pg_notify('{n}', id::text) from unnest(ids) as appended (id) where id is not null;
    return query select unnest(ids);
end $$;

-- Removes queries or replies of a topic, the first up to this number and with this number of bytes together, and returns them. Returns one
-- row with a size in the place of the time if the first one alone has more bytes.
create or replace function {p}receive(topic bigint, most bigint, bytes bigint, deadline bigint)
returns table (id bigint, key bytea, headers bytea, body bytea, left_for bigint)
language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
begin
    perform set_config('lock_timeout', deadline::text, true);
    perform set_config('synchronous_commit', 'off', true);
    return query delete from {p}record as r where r.ctid = any (array (
            select place from (select place, sum(size) over (order by number) as total from (
                select w.ctid as place, w.id as number, {size w} as size
                from {p}record as w where w.topic_id between topic and topic and w.drop_at is not null
                order by w.topic_id, w.id limit most for update skip locked) as found) as sized
            where total <= bytes))
        returning r.id, r.key, r.headers, r.body, r.expires_at - {now};
    if not found then
        return query select null::bigint, null::bytea, null::bytea, null::bytea, w.size from (
            select {size w} as size from {p}record as w
            where w.topic_id between topic and topic and w.drop_at is not null
            order by w.topic_id, w.id limit least(most, 1) for update skip locked) as w;
    end if;
end $$;

-- Leases records without a key, the oldest up to this number and with this number of bytes together, and returns them: one without a
-- record if the record was removed before. Returns one row without a delivery if there are other things to do: leases that have run
-- out, records with keys, records to take over; with a size in the place of the record if the first one alone has more bytes.
create or replace function {p}take(of_group bigint, of_member bigint, lease bigint, most bigint, bytes bigint, of_topic bigint, deadline bigint)
returns table (record_id bigint, times bigint, attempts bigint, strand bigint, key bytea, headers bytea, body bytea,
    left_for bigint, id bigint)
language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    now constant bigint := {now};
begin
    perform set_config('lock_timeout', deadline::text, true);
    perform set_config('synchronous_commit', 'off', true);
    if exists (select from {p}delivery where group_id = of_group and until > 0 and until <= now)
        or exists (select from {p}delivery where group_id = of_group and fresh)
        or exists (select from {p}strand where group_id = of_group and member is not null and until <= now)
        or exists (select from {p}strand where group_id = of_group and member is null and head is not null)
        or exists (select from {p}strand where group_id = of_group and member = of_member and head is not null)
        or exists (select from {p}delivery where group_id = -of_topic)
        or exists (select from {p}consumer_group where id = of_group and copied < copies_until) then
        return next;
        return;
    end if;
    return query with taken as (
        update {p}delivery as d
        set until = now + lease, member = of_member, times = d.times + 1, attempts = d.attempts + 1
        where d.ctid = any (array (
            select place from (select place, sum(size) over (order by number) as total from (
                select w.ctid as place, w.record_id as number, coalesce((select {size r} from {p}record as r where r.id = w.record_id), 0) as size
                from {p}delivery as w where w.group_id between of_group and of_group and w.until = 0 and w.strand is null
                order by w.group_id, w.record_id limit most for update skip locked) as found) as sized
            where total <= bytes))
        returning d.record_id, d.times, d.attempts, d.strand
    )
    select t.record_id, t.times, t.attempts, t.strand, r.key, r.headers, r.body, r.expires_at - now, r.id
    from taken as t left join {p}record as r on r.id = t.record_id order by t.record_id;
    if not found then
        return query select null::bigint, null::bigint, null::bigint, null::bigint, null::bytea, null::bytea, null::bytea, null::bigint,
            (select {size r} from {p}record as r where r.id = w.record_id)
            from {p}delivery as w where w.group_id between of_group and of_group and w.until = 0 and w.strand is null
            order by w.group_id, w.record_id limit least(most, 1) for update skip locked;
    end if;
end $$;

-- Claims keys: those of others whose time is over as well. Returns those that were granted, and those that are confirmed.
create or replace function {p}claim_keys(of_group bigint, of_member bigint, lease bigint, kept bigint, keys bytea[], deadline bigint)
returns table (key bytea, is_done bigint)
language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    claimed bigint;
begin
    perform set_config('lock_timeout', deadline::text, true);
    perform set_config('synchronous_commit', 'off', true);
    return query insert into {p}claim as c (group_id, key, member, until, forget_at, done)
        select of_group, k, of_member, {now} + lease, {now} + lease + kept, false from unnest(keys) as named (k)
        on conflict (group_id, key) do update
        set member = excluded.member, until = excluded.until, forget_at = excluded.forget_at, done = false
        where c.until <= {now}
        returning c.key, 0::bigint;
    get diagnostics claimed = row_count;
    if claimed < cardinality(keys) then
        return query select k, 1::bigint from unnest(keys) as named (k)
            where (select c.done from {p}claim as c where c.group_id = of_group and c.key = k);
    end if;
end $$;

-- Acknowledges records without a key of their own strand, and confirms deduplication keys if they are kept. Returns whether other groups
-- may need the records, which are removed otherwise; nothing if all were acknowledged before.
create or replace function {p}acknowledge(of_group bigint, of_topic bigint, records bigint[], keys bytea[], kept bigint, deadline bigint)
returns setof bigint
language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    confirmed bigint;
    settled bigint;
    moved bigint;
    others bigint := 0;
begin
    if deadline is not null then
        perform set_config('lock_timeout', deadline::text, true);
    end if;
    if cardinality(keys) > 0 then
        delete from {p}claim where ctid = any (array (
            select c.ctid from {p}claim as c where c.forget_at <= {now} and c.until <= {now}
            order by c.forget_at limit 2 * cardinality(keys) + 10 for update skip locked));
        update {p}claim as c set member = null, done = true,
            until = case when c.done and c.until > {now} + kept then c.until else {now} + kept end
        where c.ctid = any (array (
            select (select w.ctid from {p}claim as w where w.group_id = of_group and w.key = k) from unnest(keys) as named (k)));
        get diagnostics confirmed = row_count;
        if confirmed < cardinality(keys) then
            insert into {p}claim as c (group_id, key, member, until, forget_at, done)
            select of_group, k, null, {now} + kept, {now} + kept, true from unnest(keys) as named (k)
            on conflict (group_id, key) do update set member = null, done = true,
                until = case when c.done and c.until > excluded.until then c.until else excluded.until end;
        end if;
    end if;
    if exists (select from {p}consumer_group as g where g.topic_id = of_topic and g.id <> of_group) then
        others := 1;
    end if;
    delete from {p}delivery where ctid = any (array (
        select (select d.ctid from {p}delivery as d where d.group_id = of_group and d.record_id = record)
        from unnest(records) as acknowledged (record)));
    get diagnostics settled = row_count;
    -- A row that a renewal has changed since has another location.
    if settled < cardinality(records) then
        delete from {p}delivery where group_id = of_group and record_id = any (records);
        get diagnostics moved = row_count;
        settled := settled + moved;
    end if;
    if others = 0 then
        delete from {p}record where id = any (records);
    end if;
    if settled > 0 then
        return next others;
    end if;
end $$
