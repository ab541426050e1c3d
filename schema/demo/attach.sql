-- Captures the demo's tables at the source, and makes the names that its users know. Safe to run repeatedly.
select replication.attach('public.users');
select replication.attach('public.payments');
select replication.make_short_names();
