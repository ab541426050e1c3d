-- The source transaction that blocks apply; null where that cannot be told.
alter table replication.position add column held_txid bigint;
