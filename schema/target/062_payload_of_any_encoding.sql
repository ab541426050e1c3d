-- In a database of another encoding than UTF8, messages are stored as bytes: it may lack characters of them.
alter table replication.inbox_batch
    add column payload_utf8 bytea,
    alter column payload drop not null,
    add constraint one_payload check (num_nonnulls(payload, payload_utf8) = 1);
