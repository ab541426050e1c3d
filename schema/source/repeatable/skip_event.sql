-- Leaving out, on record, what cannot be sent.

-- Skips the event that holds up publishing: it is not sent to the target, which does not get this state of its row. The
-- row of that key is then not the source's in the target, until a later change of it or replication.resend brings it.
-- Only the event that holds up publishing can be skipped. The publisher resumes within seconds.
--
-- Touches replication.skipped_event.
create or replace function replication.skip_event(event_id uuid, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $skip$
declare
    held replication.progress;
begin
    select p.* into held from replication.progress p;
    if held.held_event is distinct from skip_event.event_id then
        raise exception 'event % does not hold up publishing', event_id using errcode = 'object_not_in_prerequisite_state',
            hint = 'select held_event, held_error from replication.source_status;';
    end if;
    insert into replication.skipped_event (txid, id, event_id, table_name, operation, key_text, row_bytes, reason)
    select e.txid, e.id, skip_event.event_id, coalesce(s.schema_name || '.' || s.table_name, '?'), e.operation, e.key_text,
           octet_length(e.row_text), skip_event.reason
    from replication.outbox_event e left join replication.shape s on s.id = e.shape_id
    where e.txid = held.held_txid and replication.event_id(e.id, replication.source_digits()) = held.held_event
    on conflict do nothing;
end
$skip$;
comment on function replication.skip_event(uuid, text) is
    'Skips the event that holds up publishing; recorded in replication.skipped_event. Send its table again when it can travel.';
