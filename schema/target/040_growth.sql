-- As in source/040_autovacuum.sql: what is inserted once and deleted once is to be vacuumed long before a fifth of it is dead.
alter table replication.processed_events set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 50000);
alter table replication.inbox_batch set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
alter table replication.applied_tick set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- Of a long message only the beginning is kept.
alter table replication.quarantine add column bytes bigint;
comment on column replication.quarantine.payload is 'The message, of a long one its beginning; bytes says how long it was.';
