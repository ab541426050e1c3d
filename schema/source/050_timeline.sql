-- On which WAL timeline the target last showed that its history is this one. A failover or a restore begins another
-- timeline; then nothing is published until the target has shown it again. Null: nothing was ever published.
alter table replication.progress add column timeline bigint;
