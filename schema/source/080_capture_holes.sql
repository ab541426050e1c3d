-- Changes that escaped the capture, or may have: remembered until the table was sent again or was found equal.
create table replication.capture_hole (
    id bigint generated always as identity primary key,
    attached_id int not null,       -- replication.attached.id of the table at the time
    schema_name text not null,
    table_name text not null,
    kind text not null check (kind in ('off', 'dropped', 'renamed')),
    -- Events up to this one were captured before.
    event_id bigint not null,
    txid xid8 not null default pg_current_xact_id(),
    noticed_at timestamptz not null default clock_timestamp(),
    noticed_by text not null default session_user
);
comment on table replication.capture_hole is
    'Changes that may have escaped the capture (off), and names that attached tables left (dropped, renamed).';

-- The oid that the table had when it was last sent or found equal: a restore gives it another one.
alter table replication.attached add column sent_oid oid;
update replication.attached set sent_oid = relation::oid;
