-- The tables that inbox-processor writes to, or may: noted when it first looks one up, and by replication.accept.
create table replication.written (
    relation regclass primary key,
    since timestamptz not null default clock_timestamp()
);
