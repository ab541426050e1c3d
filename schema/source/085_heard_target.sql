-- What the target said of itself last; at most one row.
create table replication.heard_target (
    only_row boolean primary key default true check (only_row),
    target text not null,
    heard_at timestamptz not null default clock_timestamp(),
    version text not null,
    trouble text,                 -- null while the processor is healthy
    events bigint not null        -- that it has committed since it started
);
comment on table replication.heard_target is 'What the target said of itself in its last confirm.';
alter table replication.heard_target set (fillfactor = 50);

select replication.grant_as('replication.heard_target', 'replication.progress');
