-- Sequences are not replicated: a row that arrives brings its number along, and the sequence of its column knows nothing
-- of it. Before anything but inbox-processor inserts rows here (a migration, an application after a switchover), they have
-- to be set forward.

-- Sets each sequence that a column owns forward to the greatest value in that column (of a descending sequence: to the
-- least), never back. Returns those that moved. Must be run by the owner of the tables, or a superuser.
create or replace function replication.advance_sequences(out sequence regclass, out former_value bigint, out new_value bigint)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '10s'
as $advance$
declare
    owned record;
    was_called boolean;
    extreme numeric;
begin
    for owned in
        select d.objid::regclass as sequence, s.seqincrement > 0 as ascends, s.seqincrement, s.seqmin, s.seqmax, r.rolname as owner,
               format('%I.%I', n.nspname, t.relname) as table_name, a.attname as column_name
        from pg_depend d
        join pg_sequence s on s.seqrelid = d.objid
        join pg_class q on q.oid = d.objid
        join pg_roles r on r.oid = q.relowner
        join pg_class t on t.oid = d.refobjid and t.relkind in ('r', 'p') and t.relpersistence <> 't'
        join pg_namespace n on n.oid = t.relnamespace and n.nspname not in ('replication', 'pg_catalog', 'information_schema')
        join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
          and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
        order by d.objid
    loop
        sequence := owned.sequence;
        -- Changes nothing, and locks: nobody takes a number between the look at it and its change, or it could go back.
        execute format('alter sequence %s owner to %I', sequence, owned.owner);
        execute format('select %s(%I) from %s', case when owned.ascends then 'max' else 'min' end, owned.column_name, owned.table_name)
            into extreme;
        execute format('select last_value, is_called from %s', sequence) into former_value, was_called;
        continue when extreme is null;
        if extreme > owned.seqmax or extreme < owned.seqmin then
            raise warning '%.% has the value %, which is beyond its sequence %', owned.table_name, owned.column_name, extreme, sequence;
            continue;
        end if;
        if owned.ascends and (former_value < extreme or former_value = extreme and not was_called)
           or not owned.ascends and (former_value > extreme or former_value = extreme and not was_called) then
            new_value := setval(sequence, trunc(extreme)::bigint);
            return next;
        end if;
    end loop;
end
$advance$;
comment on function replication.advance_sequences() is
    'Sets each sequence that a column owns forward to the greatest value in the column, never back; returns those that moved.';
