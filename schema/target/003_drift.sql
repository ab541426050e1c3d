-- Rows that others changed in the target. The source wins by key: a row of the source overwrites, and what
-- it deleted stays deleted. How often that met something else is counted, since somebody writes here who
-- should not.
alter table replication.position
    add column deletes_missing bigint not null default 0,
    add column inserts_overwritten bigint not null default 0;
