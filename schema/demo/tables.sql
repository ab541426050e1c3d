-- The tables of the demo, the same in the source and in the target. Safe to run repeatedly.

-- Users of the demo know outbox, inbox and processed_events without a schema: the services make these names where the
-- database asks for them.
do $do$
begin
    execute format('alter database %I set replication.short_names = on', current_database());
end
$do$;

create table if not exists users (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    email text not null unique,
    status text not null default 'active',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table if not exists payments (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users,
    amount numeric(12, 2) not null,
    currency text not null,
    status text not null default 'pending',
    description text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create index if not exists payments_user_id on payments (user_id);
