-- Whether the target has the rows of the attached tables, as outbox-publisher finds by comparing them slice by slice.

-- What has the target take the rows of these keys again. Touching a row captures it; a row that only the target has goes
-- with all others.
create or replace function replication.verification_remedy(relation regclass, shape_id int, keys text[], is_touch_enough boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case when is_touch_enough and cardinality(keys) between 1 and 5 and touched.name is not null then (
               select string_agg(format('update %s set %2$I = %2$I where (%s) = (%s);', relation, touched.name,
                                        (select string_agg(quote_ident(k.name), ', ' order by k.number)
                                         from unnest(s.key_columns) with ordinality as k (name, number)),
                                        (select string_agg(quote_literal(f.field), ', ' order by f.number)
                                         from unnest(replication.row_fields(key)) with ordinality as f (field, number))), ' ')
               from unnest(keys) as key)
           else format('select replication.resend(%L);', relation::text) end
    from replication.shape s
    left join lateral (
        select a.attname as name from pg_attribute a
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
        order by a.attname::text = any (s.key_columns), a.attnum limit 1) touched on true
    where s.id = shape_id;
end;

-- The columns are those of replication.verification_of_target.
drop view if exists replication.verification, replication.verification_of_source;
create view replication.verification_of_source as
select known.relation, known.table_name, 'source' as side, known.state,
       case when known.state <> 'unknown' then known.trouble
            when known.looked_at is null then 'it was not looked at yet: does outbox-publisher lead, and is VERIFY_INTERVAL not 0?'
            when known.trouble is not null then known.trouble
            when known.fresh_until < clock_timestamp() then 'it was not looked at since ' || date_trunc('second', known.looked_at)
            else 'the first round is not complete yet' end as reason,
       known.as_of_tick, known.verified_at, known.looked_at, known.rows, known.rows_of_round,
       known.differing_rows, known.more_differ, known.differing, known.not_compared,
       case when known.state = 'differs' then replication.verification_remedy(known.relation, known.shape_id, known.keys, not known.more_differ and known.is_touch_enough) end as remedy
from (
    select a.relation, a.shape_id, s.schema_name || '.' || s.table_name as table_name,
           case when d.number > 0 or v.more_in_round or v.more_before then 'differs'
                when v.trouble is null and v.fresh_until >= clock_timestamp() and v.as_of_tick is not null then 'equal'
                else 'unknown' end as state,
           v.trouble, v.looked_at, v.fresh_until, v.as_of_tick, v.verified_at, v.rows, v.rows_of_round,
           d.number as differing_rows, coalesce(v.more_in_round or v.more_before, false) as more_differ, d.differing,
           d.keys, d.is_touch_enough, coalesce(v.not_compared, '{}') as not_compared
    from replication.attached a
    join replication.shape s on s.id = a.shape_id
    join pg_class c on c.oid = a.relation
    left join replication.verified_table v on v.attached_id = a.id
    cross join lateral (
        select count(*) as number, array_agg(left(e.key_text, 200) || ' ' || e.kind order by e.first_seen, e.key_md5) as differing,
               array_agg(e.key_text order by e.first_seen, e.key_md5) as keys, coalesce(bool_and(e.kind <> 'is only there'), false) as is_touch_enough
        from replication.verified_difference e where e.attached_id = a.id) d
) known;

select replication.make_verification_view();
