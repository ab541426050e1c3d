-- Which history of this database the ticks belong to. Null for the first; replication.start_over begins another,
-- which is another source for every target.
alter table replication.progress add column history text;
