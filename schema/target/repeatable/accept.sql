-- Checks whether a table of the target can take the rows of the source's table of that name. Optional: otherwise the
-- first event reports what is wrong.

-- Why the table cannot take rows of the source, with the remedy: what attach refuses there, and what this role, if one is
-- given, could not write. Null where it can.
create or replace function replication.accept_refusal(relation regclass, role regrole, out reason text, out remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case
               when getdatabaseencoding() = 'SQL_ASCII' then 'its database has the encoding SQL_ASCII, whose bytes need not be text'
               when c.relkind not in ('r', 'p') then 'it is not a table'
               when n.nspname in ('replication', 'pg_catalog', 'information_schema', 'pg_toast') then 'it belongs to the system'
               when c.relpersistence = 't' then 'it is temporary: nobody else can see its rows'
               when c.relpersistence = 'u' then 'it is unlogged: a crash would empty it, and its rows would not be sent again'
               when not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
                   then 'it has no primary key, by which rows could be found'
               when replication.has_key_without_equality(relation)
                   then 'its primary key is WITHOUT OVERLAPS, and has a type without an equality of its own'
               when replication.row_security_hides(c.oid, role)
                   then format('row security keeps %s from writing to it', role)
           end,
           case
               when getdatabaseencoding() = 'SQL_ASCII' then 'Restore the database into one that is created with ENCODING ''UTF8''.'
               when c.relkind not in ('r', 'p') then 'Accept the tables that it reads.'
               when n.nspname in ('replication', 'pg_catalog', 'information_schema', 'pg_toast') then 'Accept tables of the application only.'
               when c.relpersistence = 't' then 'Accept a permanent table.'
               when c.relpersistence = 'u' then format('ALTER TABLE %s SET LOGGED;', relation)
               when replication.row_security_hides(c.oid, role) then format('ALTER ROLE %s BYPASSRLS;', role)
               when replication.has_key_without_equality(relation) then 'Give it a primary key of types that have an order.'
               else replication.key_remedy(relation)
           end
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation;
end;

-- Checks the table and, if a role is given, grants it what it needs to write there. An error says what is wrong and what
-- to run.
create or replace function replication.accept(relation regclass, role regrole default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $accept$
declare
    refused record;
begin
    select * into refused from replication.accept_refusal(relation, role);
    if refused.reason is null then
        select replication.write_refusal(relation) as reason,
               format('select replication.attach(%L, cascade => true);', relation::text) as remedy into refused;
    end if;
    if refused.reason is null then
        select c.reason, c.remedy into refused
        from replication.code_refusal(relation, coalesce(role, (select n.nspowner from pg_namespace n where n.nspname = 'replication')::regrole)) c;
    end if;
    if refused.reason is not null then
        raise exception 'cannot accept %: %', relation, refused.reason using errcode = 'wrong_object_type', hint = refused.remedy;
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
