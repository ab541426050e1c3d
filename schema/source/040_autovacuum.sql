-- Every event is inserted once and deleted once. By default a fifth of the table may be dead before it is vacuumed;
-- a twentieth keeps a day's outbox close to the size of what it holds. See ARCHITECTURE.md for what was measured.
alter table replication.outbox_event set (autovacuum_vacuum_scale_factor = 0.05);
alter table replication.tick set (autovacuum_vacuum_scale_factor = 0.05);
