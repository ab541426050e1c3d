-- As in source/040_autovacuum.sql: what is inserted once and deleted once.
alter table replication.processed_events set (autovacuum_vacuum_scale_factor = 0.05);
alter table replication.inbox_batch set (autovacuum_vacuum_scale_factor = 0.05);
alter table replication.applied_tick set (autovacuum_vacuum_scale_factor = 0.05);

-- Of a long message only the beginning is kept.
alter table replication.quarantine add column bytes bigint;
comment on column replication.quarantine.payload is 'The message, of a long one its beginning; bytes says how long it was.';
