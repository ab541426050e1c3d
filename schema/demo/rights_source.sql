-- The rights of the services' roles in A of the demo. Safe to run repeatedly.
select replication.grant_to_publisher('replication_publisher');
grant select, insert, update, delete on users, payments to data_generator;
