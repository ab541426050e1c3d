-- Pausing, on record: inbox-processor stops applying in a target, outbox-publisher stops publishing in a source. Nothing is
-- lost: what is received waits in the inbox, what is captured waits in the outbox.

-- The pauses that last.
create or replace view replication.paused as
select p.what, p.reason, p.paused_at, p.paused_by, p.obeyed_at from replication.pause p where p.resumed_at is null;
comment on view replication.paused is
    'What is paused now, since when, by whom and why. obeyed_at: from then on nothing more is applied, or read to be published.';

-- What a pause here is of: the one that this database does, or the one that is named where it does both.
create or replace function replication.what_to_pause(what text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $what$
declare
    done text[] := array_remove(array[case when to_regclass('replication.position') is not null then 'applying' end,
                                      case when to_regclass('replication.progress') is not null then 'publishing' end], null);
begin
    if what is null and cardinality(done) > 1 then
        raise exception 'this database applies and publishes: name what is meant' using errcode = 'invalid_parameter_value',
            hint = 'select replication.pause(''why'', ''applying''), or ''publishing''; the same for replication.resume.';
    end if;
    if what <> all (done) then
        raise exception 'this database does no %, but %', what, array_to_string(done, ' and ') using errcode = 'invalid_parameter_value';
    end if;
    return coalesce(what, done[1]);
end
$what$;

-- Pauses applying or publishing. The service stops within a second, notes that in obeyed_at, and stays paused when it is
-- started again. Batches that were read before are still published.
create or replace function replication.pause(reason text, what text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $pause$
declare
    paused text := replication.what_to_pause(what);
    present record;
begin
    insert into replication.pause (what, reason) values (paused, pause.reason) on conflict do nothing;
    if not found then
        select p.* into present from replication.paused p where p.what = paused;
        raise exception '% is paused already, since % by %: %', paused, present.paused_at, present.paused_by, present.reason
            using errcode = 'object_not_in_prerequisite_state';
    end if;
end
$pause$;
comment on function replication.pause(text, text) is
    'Pauses applying (in a target) or publishing (in a source) within a second; recorded in replication.pause.';

-- Resumes it, within a second.
create or replace function replication.resume(what text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $resume$
declare
    paused text := replication.what_to_pause(what);
begin
    update replication.pause p set resumed_at = clock_timestamp(), resumed_by = session_user
    where p.what = paused and p.resumed_at is null;
    if not found then
        raise exception '% is not paused', paused using errcode = 'object_not_in_prerequisite_state',
            hint = 'select * from replication.pause order by id desc;';
    end if;
end
$resume$;
comment on function replication.resume(text) is 'Ends a pause of applying or publishing; recorded in replication.pause.';
