-- What cannot be sent, such as a row that is larger than a message may be. Everything behind it waits. Set by the
-- publisher.
alter table replication.progress
    add column held_since timestamptz,
    add column held_error text,
    add column held_event uuid,   -- replication.event_id of it
    add column held_txid xid8;    -- its transaction

-- Events that are not sent, as somebody decided. They keep their place in their tick. Rows stay, as a record.
create table replication.skipped_event (
    txid xid8 not null,
    id bigint not null,           -- of replication.outbox_event
    event_id uuid not null,
    table_name text not null,
    operation "char" not null,
    key_text text,
    row_bytes bigint,
    reason text not null,
    skipped_by text not null default session_user,
    skipped_at timestamptz not null default clock_timestamp(),
    primary key (txid, id),
    constraint reason_given check (reason <> '')
);
comment on table replication.skipped_event is
    'Events that are not sent to the target. Its rows of these keys are not the source''s until the table is sent again.';

-- Who publishes from this source goes on without being granted anything anew.
do $do$
declare
    publisher text;
begin
    for publisher in
        select distinct a.grantee::regrole::text
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'replication.progress'::regclass and a.privilege_type = 'UPDATE' and a.grantee not in (0, c.relowner)
    loop
        execute format('grant select on replication.skipped_event to %s', publisher);
    end loop;
end
$do$;
