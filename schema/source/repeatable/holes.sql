-- What may have escaped the capture is remembered until the target has it for certain: until the table was sent again
-- (replication.resend) or found equal (compare-replication.sh).

-- Notes it of an attached table. Only adds a row, so it fails no transaction of the application's, whatever its isolation.
create or replace function replication.note_hole(relation regclass, kind text) returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    insert into replication.capture_hole (attached_id, schema_name, table_name, kind, event_id)
    select a.id, s.schema_name, s.table_name, note_hole.kind, coalesce(pg_sequence_last_value('replication.outbox_event_id_seq'), 0)
    from replication.attached a join replication.shape s on s.id = a.shape_id
    where a.relation = note_hole.relation;
end;

-- Whose changes the table's capture triggers see: of all sessions (on), not of those with session_replication_role =
-- replica (origin, as ENABLE TRIGGER ALL leaves them), or not all changes of anybody (off).
create or replace function replication.capture_switch(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when count(t.oid) < 4 or bool_or(t.tgenabled in ('D', 'R')) then 'off'
                when bool_or(t.tgenabled = 'O') then 'origin' else 'on' end
    from unnest(array['insert', 'update', 'delete', 'truncate']) as event
    left join pg_trigger t on t.tgrelid = relation and t.tgname = 'replication_' || event
);

-- Has them see all sessions.
create or replace function replication.switch_capture_on(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $switch$
begin
    -- One command, after which DDL that is followed finds all of them right.
    execute format('alter table %s enable always trigger replication_insert, enable always trigger replication_update, '
                   'enable always trigger replication_delete, enable always trigger replication_truncate', relation);
end
$switch$;

-- Follows ALTER TABLE ... DISABLE TRIGGER and DROP TRIGGER on these tables, in their transaction: notes the hole, and ends
-- it with ENABLE TRIGGER. Does not refuse: loads with disabled triggers are how pg_restore and others work.
create or replace function replication.follow_triggers(touched oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $follow$
declare
    touched_table record;
begin
    for touched_table in
        select a.relation, replication.capture_switch(a.relation) as switch,
               exists (select from replication.capture_hole h where h.attached_id = a.id and h.kind = 'off') as is_noted
        from replication.attached a
        where a.relation = any (touched) and exists (select from pg_class c where c.oid = a.relation)
    loop
        continue when touched_table.switch = 'on' and not touched_table.is_noted;
        -- Also where it is on again: the hole ends here.
        perform replication.note_hole(touched_table.relation, 'off');
        if touched_table.switch = 'origin' then
            perform replication.switch_capture_on(touched_table.relation);
        elsif touched_table.switch = 'off' then
            raise warning 'changes of the replicated table % escape its capture from now on', touched_table.relation
                using hint = format('ALTER TABLE %s ENABLE TRIGGER ALL; then, so that the target gets them: select replication.resend(%L);',
                                    touched_table.relation, touched_table.relation::text);
        end if;
    end loop;
end
$follow$;

-- Ends the replication of a table that is gone. One that is made under its name is another table, and reported.
create or replace function replication.follow_drop(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $follow$
declare
    functions text[] := array(select f from replication.capture_function_names(relation) f);
begin
    perform replication.note_hole(relation, 'dropped');
    delete from replication.capture_hole h
    where h.kind = 'off' and h.attached_id = replication.capture_id(follow_drop.relation);
    delete from replication.attached a where a.relation = follow_drop.relation;
    perform replication.drop_capture_functions(functions);
end
$follow$;

-- Follows the renaming of an attached table from what its shape says to what it is called now.
create or replace function replication.follow_rename(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $follow$
declare
    present record;
begin
    select n.nspname, c.relname, (n.nspname, c.relname) <> (s.schema_name, s.table_name) as is_renamed into present
    from replication.attached a
    join replication.shape s on s.id = a.shape_id
    join pg_class c on c.oid = a.relation
    join pg_namespace n on n.oid = c.relnamespace
    where a.relation = follow_rename.relation;
    if present.is_renamed then
        perform replication.note_hole(relation, 'renamed');
        -- All that this table had under another name is captured: nothing is missing under the present one.
        delete from replication.capture_hole h
        where h.kind <> 'off' and (h.schema_name, h.table_name) = (present.nspname, present.relname);
    end if;
end
$follow$;

-- Notes what happened where no event trigger saw it. Called by outbox-publisher once a minute, whose role may not write
-- there.
create or replace function replication.note_holes() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $note$
begin
    perform replication.note_hole(a.relation, 'off')
    from replication.attached a
    where exists (select from pg_class c where c.oid = a.relation)
      and not exists (select from replication.capture_hole h where h.attached_id = a.id and h.kind = 'off')
      and replication.capture_switch(a.relation) <> 'on';
end
$note$;

-- Forgets these holes of a table, and what its name had before; by default all. Returns how many there were.
create or replace function replication.forget_holes(relation regclass, seen_in pg_snapshot default null, applied pg_snapshot default null)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $forget$
declare
    forgotten bigint;
begin
    delete from replication.capture_hole h
    where (h.kind = 'off' and h.attached_id = replication.capture_id(relation)
           or h.kind <> 'off' and (h.schema_name, h.table_name) = (
               select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation))
      and (seen_in is null
           or pg_visible_in_snapshot(h.txid, seen_in)
              -- What was captured before it is applied: the escaped change of a row that is still pending would not show.
              and not exists (
                  select from replication.outbox_event e
                  where e.txid >= pg_snapshot_xmin(applied) and e.id <= h.event_id and not pg_visible_in_snapshot(e.txid, applied)));
    get diagnostics forgotten = row_count;
    update replication.attached a set sent_oid = a.relation::oid
    where a.relation = forget_holes.relation and a.sent_oid is distinct from a.relation::oid;
    return forgotten;
end
$forget$;

-- Notes that the target had the same rows as the table had in this snapshot, but for what was pending after the tick that
-- the target had applied. Called by compare-replication.sh. Returns whether no hole of the table is left.
create or replace function replication.note_equal(relation regclass, seen_in pg_snapshot, tick bigint, tick_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $note$
begin
    perform replication.forget_holes(relation, seen_in, t.snapshot)
    from replication.tick t
    where t.tick = coalesce(note_equal.tick, 0) and t.tick_id = coalesce(note_equal.tick_id, t.tick_id);
    return not exists (select from replication.hole_problem p where p.relation = note_equal.relation);
end
$note$;
comment on function replication.note_equal(regclass, pg_snapshot, bigint, uuid) is
    'Forgets holes in the capture of a table that compare-replication.sh has found equal.';

-- What is to be done about each hole.
drop view if exists replication.hole_problem cascade;   -- capture_problem is created again
create view replication.hole_problem as
with attached as (
    select a.relation, a.id, a.sent_oid, s.schema_name, s.table_name
    from replication.attached a
    join replication.shape s on s.id = a.shape_id
    join pg_class c on c.oid = a.relation
), open_hole as (
    select attached_id, schema_name, table_name, kind, date_trunc('second', min(noticed_at)) as since
    from replication.capture_hole group by attached_id, schema_name, table_name, kind
)
select a.relation, a.schema_name || '.' || a.table_name as table_name,
       'changes of it escaped while its capture triggers were off (noticed at ' || min(h.since) || '); run: select replication.resend('
       || quote_literal(a.relation::text) || '); or ./compare-replication.sh, which forgets this where it finds the table equal' as problem
from open_hole h join attached a on a.id = h.attached_id
where h.kind = 'off' and replication.capture_switch(a.relation) = 'on'
group by a.relation, a.schema_name, a.table_name
union all
select c.oid::regclass, h.schema_name || '.' || h.table_name,
       'the table that was replicated under this name was ' || string_agg(distinct h.kind, ' and ') || ' (noticed at ' || min(h.since)
       || '), and this is another one; run: '
       || case when bool_and(a.relation is null) then 'select replication.attach(' || quote_literal(c.oid::regclass::text) || '), ' else '' end
       || 'select replication.resend(' || quote_literal(c.oid::regclass::text) || ')'
       || case when bool_and(a.relation is null)
               then '; or, if it is not to be replicated: select replication.detach(' || quote_literal(c.oid::regclass::text) || ')' else '' end
from open_hole h
join pg_namespace n on n.nspname = h.schema_name
join pg_class c on c.relnamespace = n.oid and c.relname = h.table_name and c.relkind in ('r', 'p')
left join attached a on a.relation = c.oid
where h.kind <> 'off' and h.attached_id is distinct from a.id
group by c.oid, h.schema_name, h.table_name
union all
select a.relation, a.schema_name || '.' || a.table_name,
       'it was restored from a dump, so the target may have other rows; run: ./compare-replication.sh; where it finds differences: '
       || 'select replication.resend(' || quote_literal(a.relation::text) || ')'
from attached a
where a.sent_oid <> a.relation::oid;
comment on view replication.hole_problem is
    'Tables whose changes may have escaped the capture, until each was sent again or found equal.';
