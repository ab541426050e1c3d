-- Whether what inbox-processor writes to the table is captured and sent on, in a chain of replications. Where both sides
-- were here already, that is what attaching meant so far.
alter table replication.attached add column cascade boolean;
update replication.attached set cascade = to_regclass('replication.position') is not null;
alter table replication.attached alter column cascade set default false, alter column cascade set not null;
