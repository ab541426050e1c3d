-- Checks whether a table of the target can take the rows of the source's table of that name. Optional: otherwise the
-- first event reports what is wrong.

-- Checks the table and, if a role is given, grants it what it needs to write there. An error says what is wrong and what
-- to run.
create or replace function replication.accept(relation regclass, role regrole default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $accept$
declare
    kind "char";
    persistence "char";
    key text;
begin
    select c.relkind, c.relpersistence into kind, persistence from pg_class c where c.oid = relation;
    if kind not in ('r', 'p') then
        raise exception 'cannot accept %: it is not a table', relation using errcode = 'wrong_object_type';
    end if;
    if persistence = 'u' then
        raise exception 'cannot accept %: it is unlogged: a crash would empty it, and its rows would not be sent again', relation
            using errcode = 'wrong_object_type', hint = format('ALTER TABLE %s SET LOGGED;', relation);
    end if;
    select pg_get_indexdef(i.indexrelid) into key
    from pg_index i
    where i.indrelid = relation and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
    order by i.indisprimary desc limit 1;
    if key is null then
        raise exception 'cannot accept %: it has no primary key, by which rows could be found', relation
            using errcode = 'wrong_object_type', hint = format('ALTER TABLE %s ADD PRIMARY KEY (...);', relation);
    end if;
    if role is not null then
        execute format('grant usage on schema %I to %s', (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                                                          where c.oid = relation), role);
        execute format('grant select, insert, update, delete on %s to %s', relation, role);
    end if;
end
$accept$;
comment on function replication.accept(regclass, regrole) is
    'Checks that the table can take the rows of the source, and grants the role of inbox-processor what it needs.';
