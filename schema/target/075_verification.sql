-- What the source has found by comparing its tables with these, as it says; one row for each table.
create table replication.verification_heard (
    relation regclass primary key,
    heard_at timestamptz not null default clock_timestamp(),
    -- The source has looked by then, or it is not known any more.
    fresh_until timestamptz not null,
    state text not null,
    trouble text,
    as_of_tick bigint,
    verified_at timestamptz,          -- by the clock of the source
    looked_at timestamptz,
    rows bigint,
    rows_of_round bigint not null,
    differing_rows bigint not null,
    more_differ boolean not null,
    differing text[],
    not_compared text[] not null,
    constraint state_known check (state in ('equal', 'differs', 'unknown'))
);
comment on table replication.verification_heard is 'What the source said last of each table. Look at it through the view "verification".';
alter table replication.verification_heard set (fillfactor = 50);

select replication.grant_as('replication.verification_heard', 'replication.position');
