-- What operators decide, on record.

-- Each time this target was told to follow another source.
create table replication.adoption (
    id bigint generated always as identity primary key,
    adopted_at timestamptz not null default clock_timestamp(),
    adopted_by text not null default session_user,
    from_source text not null,
    to_source text not null,
    abandoned_tick bigint        -- the last one that was applied of the former source
);

-- Source transactions that are not applied: wanted while their tick is held, done with it.
create table replication.skipped_transaction (
    txid bigint not null,
    source text not null,
    reason text not null,
    skipped_by text not null default session_user,
    ordered_at timestamptz not null default clock_timestamp(),
    applied_tick bigint,         -- the tick that was applied without it; null before
    events jsonb,                -- what was left out
    primary key (source, txid),
    constraint reason_given check (reason <> '')
);

-- Messages up to this one were looked at by somebody.
create table replication.quarantine_seen (
    up_to_id bigint primary key,
    seen_by text not null default session_user,
    seen_at timestamptz not null default clock_timestamp()
);

-- Raised by replication.retry_hold: the processor tries again at once.
create sequence replication.retry_wanted;
