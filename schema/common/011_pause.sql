-- Pauses of applying (in a target) and of publishing (in a source), on record. Rows stay.
create table replication.pause (
    id bigint generated always as identity primary key,
    what text not null,
    reason text not null,
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null default session_user,
    -- Set by the service once it does nothing of it any more; null where none has taken notice.
    obeyed_at timestamptz,
    resumed_at timestamptz,
    resumed_by text,
    constraint what_is_known check (what in ('applying', 'publishing')),
    constraint reason_given check (reason <> ''),
    constraint resumed_by_somebody check ((resumed_at is null) = (resumed_by is null))
);
create unique index pause_is_open_once on replication.pause (what) where resumed_at is null;
comment on table replication.pause is
    'When applying or publishing was paused, by whom and why; resumed_at is null while it lasts.';
