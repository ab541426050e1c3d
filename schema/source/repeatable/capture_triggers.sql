-- The four triggers of an attached table, which call its capture functions.

-- The statement that creates one of a table's four capture triggers.
create or replace function replication.capture_trigger(relation regclass, event text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format(
    'create or replace trigger %I after %s on %s %s for each statement execute function replication.%I()',
    'replication_' || event, event, relation,
    case event
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
    end,
    case event when 'insert' then 'capture_insert_' else 'capture_' end || replication.capture_id(relation));

-- The events of which the table's capture trigger is missing, not enabled always, or another than capture_trigger writes.
create or replace function replication.stale_capture_triggers(relation regclass) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select wanted.event
    from (values ('insert', 4, 'capture_insert_', null, 'new_rows'),   -- pg_trigger.tgtype: AFTER ... FOR EACH STATEMENT
                 ('update', 16, 'capture_', 'old_rows', 'new_rows'),
                 ('delete', 8, 'capture_', 'old_rows', null),
                 ('truncate', 32, 'capture_', null, null)) as wanted (event, type, function, old_rows, new_rows)
    where not exists (
        select from pg_trigger t
        where t.tgrelid = relation and t.tgname = 'replication_' || wanted.event and t.tgenabled = 'A' and t.tgtype = wanted.type
          and t.tgfoid = to_regproc('replication.' || wanted.function || replication.capture_id(relation))
          and t.tgqual is null and t.tgattr = ''::int2vector
          and t.tgoldtable is not distinct from wanted.old_rows and t.tgnewtable is not distinct from wanted.new_rows)
    order by wanted.event;
end;
