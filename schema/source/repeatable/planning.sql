-- Whether PostgreSQL can plan to read a table as capture reads it: with the rights of its role, under its search path.
--
-- While it plans, PostgreSQL evaluates what is constant in the expressions of statistics and indexes, and puts the bodies of
-- SQL functions in their place. What these name without a schema is found under the application's search path only, and then
-- the application's UPDATE and DELETE fail inside capture, or replication.resend does. Capture cannot take the application's
-- search path: whoever may write to one table could have code of his own run with rights on all of them.

-- The expressions of a table's statistics and indexes that call somebody's own functions: whose they are, whether this
-- transaction made that (no row that a transaction sees and did not write is younger than its own id), and what helps.
create or replace function replication.planned_expressions(relation regclass)
returns table (object text, expression text, is_new boolean, remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with object as (
        select 'the index ' || i.indexrelid::regclass as name, 'pg_class'::regclass as class, i.indexrelid as id, age(i.xmin) <= 0 as is_new,
               array(select pg_get_indexdef(i.indexrelid, k.number::int, false)
                     from unnest(i.indkey::int2[]) with ordinality as k (attnum, number) where k.attnum = 0
                     union all
                     select pg_get_expr(i.indpred, i.indrelid) where i.indpred is not null) as expressions
        from pg_index i
        where i.indrelid = relation and i.indisvalid and (i.indexprs is not null or i.indpred is not null)
        union all
        select format('the statistics %I.%I', n.nspname, s.stxname), 'pg_statistic_ext'::regclass, s.oid, age(s.xmin) <= 0,
               pg_get_statisticsobjdef_expressions(s.oid)
        from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
        where s.stxrelid = relation and s.stxexprs is not null
    )
    select o.name, e.expression, o.is_new, f.remedy
    from object o
    cross join lateral (
        -- Those of PostgreSQL itself have no entry in pg_depend.
        select string_agg(format('ALTER FUNCTION %s SET search_path = %I', p.oid::regprocedure, n.nspname), '; ' order by p.oid) as remedy
        from pg_depend d
        left join pg_operator by_operator on d.refclassid = 'pg_operator'::regclass and by_operator.oid = d.refobjid
        join pg_proc p on p.oid = case when d.refclassid = 'pg_proc'::regclass then d.refobjid else by_operator.oprcode end
        join pg_namespace n on n.oid = p.pronamespace
        join pg_language l on l.oid = p.prolang and l.lanname not in ('internal', 'c')
        where d.classid = o.class and d.objid = o.id) f
    cross join unnest(o.expressions) as e (expression)
    where f.remedy is not null
    order by o.name;
end;

-- The error with which PostgreSQL refuses to plan a statement; null where it plans it, and where it lacks resources only.
create or replace function replication.planning_error(statement text, out state text, out message text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $error$
declare
    is_planned boolean := false;
begin
    execute 'explain ' || statement;
    is_planned := true;
    -- Undoes what code in expressions did: a deferred trigger of its owner's would run with the rights of this session.
    raise exception 'to be undone';
exception when others then
    if not is_planned and left(sqlstate, 2) not in ('40', '53', '55', '57', '58') then
        state := sqlstate;
        message := sqlerrm;
    end if;
end
$error$;

-- The error with which PostgreSQL refuses to plan a statement as the capture of this table would.
create or replace function replication.capture_planning_error(relation regclass, statement text, out state text, out message text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $error$
begin
    execute format('select e.state, e.message from replication.%I($1) e', 'capture_explain_' || replication.capture_id(relation))
    into state, message using statement;
end
$error$;

-- What keeps capture from reading an attached table, by object: why, and what helps. Looks with the rights of the role that
-- captures it; anybody's UPDATE would run the same code with them. Everybody may ask who may see the registry.
create or replace function replication.planning_problem(relation regclass)
returns table (is_new boolean, problem text, remedy text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $problem$
declare
    planned record;
    error record;
    role regrole;
    words constant text := '%s cannot be planned as capture reads the table, with the rights of %s and under the search path pg_catalog: %s';
begin
    -- For most tables that is all: the audit asks for each.
    if not exists (select from pg_index i join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                   where i.indrelid = relation and (i.indexprs is not null or i.indpred is not null)
                     and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass))
       and not exists (select from pg_statistic_ext s where s.stxrelid = relation and s.stxexprs is not null) then
        return;
    end if;
    -- Older versions made no function to ask by; their tables get it when they are attached again.
    role := (select p.proowner::regrole from pg_proc p where p.oid = to_regproc('replication.capture_explain_' || replication.capture_id(relation)));
    if role is null then
        return;
    end if;
    for planned in
        select e.*, c.relname from replication.planned_expressions(relation) e cross join pg_class c where c.oid = relation
    loop
        -- Of no row of the table, so that only this expression is planned, and planned now: those of indexes are cached.
        select * into error from replication.capture_planning_error(
            relation, format('select %s from unnest(null::%s[]) as %I', planned.expression, relation, planned.relname));
        -- The text of an expression needs rights that the expression does not.
        if error.state <> '42501' then
            is_new := planned.is_new;
            problem := format(words, planned.object, role, error.message);
            remedy := planned.remedy || ' (the schemas of what it calls; or qualify the names in its body)';
            return next;
        end if;
    end loop;
    if planned is null or problem is not null or not has_table_privilege(role, relation, 'select') then
        return;
    end if;
    select * into error from replication.capture_planning_error(relation, format('select from %s', relation));
    if error.state is not null then
        select bool_or(e.is_new), format(words, string_agg(distinct e.object, ' or '), role, error.message),
               format('GRANT what is missing to %s; or %s', role, string_agg(distinct e.remedy, '; '))
        into is_new, problem, remedy
        from replication.planned_expressions(relation) e;
        return next;
    end if;
end
$problem$;

-- Refuses what this transaction made of attached tables; what was there before is the audit's to report. Like each failed
-- CREATE INDEX CONCURRENTLY, one that is refused leaves an invalid index, which no plan looks at.
create or replace function replication.require_plannable(touched oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
declare
    found record;
begin
    for found in
        select a.relation, p.* from replication.attached a cross join lateral replication.planning_problem(a.relation) p
        where a.relation = any (touched) and p.is_new
    loop
        raise exception 'the replicated table % cannot be changed so: %', found.relation, found.problem
            using errcode = 'wrong_object_type', hint = found.remedy;
    end loop;
end
$require$;

do $do$
begin
    if replication.is_superuser() then
        -- In older versions it was the capture role's.
        alter function replication.planning_problem(regclass) owner to current_user;
    end if;
end
$do$;
