-- Notes in A that B had the table's rows. Prints whether A's capture_problem has nothing left of it. Variables: table; the
-- snapshot in which A was read; tick and tick_id, the position of B.

set statement_timeout = :timeout;

select replication.note_equal(:'table'::regclass, :'snapshot', nullif(:'tick', '')::bigint, nullif(:'tick_id', '')::uuid);
