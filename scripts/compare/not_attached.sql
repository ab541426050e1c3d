-- How many tables of A nobody attached.

set statement_timeout = :timeout;

select count(*) from replication.not_attached;
