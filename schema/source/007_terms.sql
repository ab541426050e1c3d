-- Which publisher may store the marks. Each takes the next term when it begins to lead; one that was
-- stopped, lost its lock meanwhile and wakes up later is of an older term, and its marks are not taken.
alter table replication.progress add column term bigint not null default 0;
comment on column replication.progress.term is 'counts the publishers that have led; only the last one stores marks';
