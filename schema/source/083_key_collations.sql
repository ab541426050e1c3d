-- Which texts of a key are equal though they differ, so that a target can tell whether it compares them in the same way.
-- Null in the shapes of older versions, which do not say it.
alter table replication.shape add column key_collations text[];
