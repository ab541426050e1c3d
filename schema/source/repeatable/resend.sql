-- Sending the rows of a table: the first copy of one that has rows when it is attached, and the repair of a target that
-- differs.

-- Captures a TRUNCATE and every row of the table, in the caller's transaction. The target replaces its rows in one
-- transaction, so no reader sees the table empty there. Waits for transactions that are writing to the table, and
-- blocks its writers until the caller's transaction ends; it must see what they wrote (READ COMMITTED).
-- Returns the number of rows.
create or replace function replication.resend(relation regclass) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $resend$
declare
    shape replication.shape;
    sent bigint;
begin
    perform replication.require_read_committed('resend');
    select s.* into shape
    from replication.attached a join replication.shape s on s.id = a.shape_id
    where a.relation = resend.relation;
    if shape.id is null then
        raise exception '% is not attached', relation
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('select replication.attach(%L);', relation::text);
    end if;
    execute format('lock table %s in share row exclusive mode', relation);
    -- Qualified under this function's search path.
    if relation::text <> format('%I.%I', shape.schema_name, shape.table_name) then
        perform replication.refuse_renamed(relation, format('%I.%I', shape.schema_name, shape.table_name));
    end if;
    perform replication.forget_holes(relation);
    -- Reading evaluates expressions of the table's owner: not with the caller's rights.
    execute format('select replication.%I()', 'capture_rows_' || replication.capture_id(relation)) into sent;
    return sent;
end
$resend$;
comment on function replication.resend(regclass) is
    'Sends all rows of an attached table: a first copy, or a repair of the target.';
