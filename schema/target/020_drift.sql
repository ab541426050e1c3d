-- Rows that others changed in the target. The source wins by key: a row of the source overwrites, and what
-- it deleted stays deleted. How often that met something else is counted, since somebody writes here who
-- should not.
alter table replication.position
    add column deletes_missing bigint not null default 0,
    add column inserts_overwritten bigint not null default 0;

create view replication.target_drift as
select p.deletes_missing, p.inserts_overwritten from replication.position p;
comment on view replication.target_drift is
    'deletes_missing: rows deleted in the source that were gone here already. inserts_overwritten: rows new in the source whose key was here already.';
