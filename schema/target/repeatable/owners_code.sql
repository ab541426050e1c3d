-- Writing to a table runs code of those who may have put it there, with the rights of who writes: functions of triggers and
-- rules that fire for a replica, of CHECK and exclusion constraints, of indexes, statistics, defaults and partition keys, and
-- of the types of its columns.

-- What of a table and its partitions may run code.
create or replace function replication.code_of(relation regclass) returns table (class oid, object oid)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive part (oid) as (
        select relation::oid union select p.relid::oid from pg_partition_tree(relation) p
    ), type (oid) as (
        select a.atttypid from pg_attribute a join part on part.oid = a.attrelid where a.attnum > 0 and not a.attisdropped
        union
        select inner_type.oid
        from type join pg_type t on t.oid = type.oid
        cross join lateral (
            select t.typbasetype as oid union all select t.typelem
            union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
            union all select r.rngtypid from pg_range r where r.rngmultitypid = t.oid
            union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) as inner_type
        where inner_type.oid <> 0
    )
    select 'pg_trigger'::regclass::oid, t.oid from pg_trigger t join part on part.oid = t.tgrelid
    where not t.tgisinternal and t.tgenabled in ('R', 'A')
    union all
    select 'pg_rewrite'::regclass, r.oid from pg_rewrite r join part on part.oid = r.ev_class
    where r.ev_enabled in ('R', 'A') and r.ev_type <> '1'
    union all
    select 'pg_constraint'::regclass, c.oid from pg_constraint c join part on part.oid = c.conrelid
    union all
    select 'pg_constraint'::regclass, c.oid from pg_constraint c join type on type.oid = c.contypid
    union all
    select 'pg_class'::regclass, i.indexrelid from pg_index i join part on part.oid = i.indrelid
    union all
    select 'pg_class'::regclass, part.oid from part
    union all
    select 'pg_statistic_ext'::regclass, s.oid from pg_statistic_ext s join part on part.oid = s.stxrelid
    union all
    select 'pg_attrdef'::regclass, d.oid from pg_attrdef d join part on part.oid = d.adrelid
    union all
    select 'pg_type'::regclass, type.oid from type;
end;

-- The first function that writing to a table would run with the rights of `role` although neither an administrator (a
-- superuser, or who owns this schema) nor that role answers for it: owns it. Null where there is none. One with SECURITY
-- DEFINER counts, too: what it leaves to the end of the transaction runs with the rights of the session.
create or replace function replication.untrusted_code(relation regclass, role regrole, out code regprocedure, out owner regrole)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select p.oid::regprocedure, p.proowner::regrole
    from replication.code_of(relation) c
    join pg_depend d on d.classid = c.class and d.objid = c.object and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
    left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    join pg_proc p on p.oid = coalesce(o.oprcode::oid, d.refobjid)
    join pg_roles r on r.oid = p.proowner
    where not r.rolsuper and r.oid <> role
      and r.oid <> (select n.nspowner from pg_namespace n where n.nspname = 'replication')
      -- What captures a table is ours.
      and p.pronamespace <> 'replication'::regnamespace
    order by 1 limit 1;
end;

-- Why the role should not write to the table, and what to run; null where it may.
create or replace function replication.code_refusal(relation regclass, role regrole, out reason text, out remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('writing to it would run %s, a function of %s, with the rights of %s', u.code, u.owner, role),
           format('ALTER ROUTINE %s OWNER TO %s; -- once an administrator has read it', u.code,
                  (select n.nspowner::regrole from pg_namespace n where n.nspname = 'replication'))
    from replication.untrusted_code(relation, role) u
    where u.code is not null;
end;
