-- Columns travel with their types, so that a target that lacks one can say what to run.
alter table replication.shape
    add column types text[] not null default '{}',      -- of columns, as ALTER TABLE takes them
    add column generated text[] not null default '{}';  -- names of columns that are computed from others
