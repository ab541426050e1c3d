-- What outbox-publisher has found by comparing tables with the target, slice by slice.

create table replication.verified_table (
    attached_id int primary key,      -- replication.attached.id
    verified_up_to text,              -- the key up to which this round has come; null at its beginning
    round_began_at timestamptz not null default clock_timestamp(),
    rows bigint,                      -- of the last complete round; null before
    rows_of_round bigint not null default 0,
    -- The target's position when the last round was complete, or when the last difference was gone since.
    as_of_tick bigint,
    verified_at timestamptz,
    looked_at timestamptz not null default clock_timestamp(),
    -- Later than this, it is not known any more.
    fresh_until timestamptz not null default clock_timestamp(),
    trouble text,                     -- why the last look decided nothing; null where it did
    not_compared text[] not null default '{}',
    -- More rows differ than are kept: found in this round, or in the one before.
    more_in_round boolean not null default false,
    more_before boolean not null default false
);
comment on table replication.verified_table is 'How far each table was compared with the target. Look at it through the view "verification".';
alter table replication.verified_table set (fillfactor = 50);

-- Rows that differ: evidence, kept until a later look finds them equal.
create table replication.verified_difference (
    attached_id int not null,
    key_md5 text not null,            -- a key may be longer than an index takes
    key_text text not null,
    kind text not null,
    tick bigint not null,             -- the target's position when it was seen last
    first_seen timestamptz not null default clock_timestamp(),
    last_seen timestamptz not null default clock_timestamp(),
    primary key (attached_id, key_md5),
    constraint kind_known check (kind in ('has other values', 'is missing', 'is only there'))
);
comment on table replication.verified_difference is 'Rows that were proven to differ in the target, until they are found equal.';

select replication.grant_as('replication.verified_table', 'replication.progress');
select replication.grant_as('replication.verified_difference', 'replication.progress');
