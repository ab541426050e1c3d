-- Captures the demo's tables at the source. Safe to run repeatedly.
select replication.attach('public.users');
select replication.attach('public.payments');
