-- Capture functions are named by a number that a dump carries along. Their table's oid, by which they were named before,
-- is another one after a restore, and may then be that of a different table.
alter table replication.attached add column id int not null generated always as identity unique;

-- Functions of tables that were attached before: those that the table's triggers call, whatever number they have. A
-- trigger stays with a function that is renamed, so no table is locked.
do $do$
declare
    former record;
begin
    for former in
        select a.id, kind.name as kind, 'replication.' || kind.name || substr(p.proname, length('capture_') + 1) as function
        from replication.attached a
        join pg_catalog.pg_trigger t on t.tgrelid = a.relation and t.tgname = 'replication_update'
        join pg_catalog.pg_proc p on p.oid = t.tgfoid and p.proname ~ '^capture_[0-9]+$'
        cross join unnest(array['capture_insert_', 'capture_', 'capture_rows_']) as kind (name)
        order by a.id
    loop
        -- Two tables that call one function, after a restore: the second gets its own from replication.attach.
        if to_regproc(former.function) is not null then
            execute format('alter function %s() rename to %I', former.function, former.kind || former.id);
        end if;
    end loop;
end
$do$;
