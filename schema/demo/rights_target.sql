-- The rights of inbox-processor's role in B of the demo. Safe to run repeatedly.
select replication.grant_to_processor('replication_processor');
select replication.accept('public.users', 'replication_processor');
select replication.accept('public.payments', 'replication_processor');
