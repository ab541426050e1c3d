-- Every event is inserted once and deleted once, at the other end of the table. The pruner finds the oldest by walking
-- the index past what is dead: with the default of a fifth of the table, a day's outbox would be walked past millions
-- of dead rows by each statement. Measured with ./test-replication.sh --soak; see ARCHITECTURE.md.
alter table replication.outbox_event set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 50000);
alter table replication.tick set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
