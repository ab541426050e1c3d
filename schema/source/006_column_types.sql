-- Columns travel with their types, so that a target that lacks one can say what to run.
--
-- The one numbered file that was changed after its release. It added the columns with a default at once, which
-- PostgreSQL refuses since the minors of November 2026 (15.20, 17.12) while a function with an SQL-standard body takes
-- the table's row type, as capture_function did. Both forms leave the same table.
alter table replication.shape
    add column types text[],      -- of columns, as ALTER TABLE takes them
    add column generated text[];  -- names of columns that are computed from others
update replication.shape set types = '{}', generated = '{}';
alter table replication.shape
    alter column types set default '{}', alter column types set not null,
    alter column generated set default '{}', alter column generated set not null;
