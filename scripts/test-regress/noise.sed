# What may differ: taken out of both outputs. Each line begins with the name of its file.

# Replication says what is not replicated, and what the target does not get; each with a hint.
/^[a-z_0-9.]+: NOTICE:  .* is not replicated; other tables of its schema are$/ {
  N
  /\n[a-z_0-9.]+: HINT:  /d
  D
}
/^[a-z_0-9.]+: WARNING:  .* is not replicated, as the former table of this name was$/ {
  N
  /\n[a-z_0-9.]+: HINT:  /d
  D
}
/^[a-z_0-9.]+: WARNING:  .* had a former column of the name .*: the target keeps its values$/ {
  N
  /\n[a-z_0-9.]+: HINT:  /d
  D
}

# \d shows the capture triggers.
/^[a-z_0-9.]+: Triggers firing always:$/ {
  N
  /\n[^\n]*: {5}replication_delete AFTER /d
}
/^[a-z_0-9.]+: {5}replication_(insert|delete|truncate|update) AFTER .* EXECUTE FUNCTION replication\.capture_(insert_)?[0-9]+\(\)$/d

# A transaction's locks, of which those that replication and this test take block no DML: the stronger ones are compared.
/^alter_table: select \* from my_locks order by 1;$/,/^alter_table: $/ {
  /\| (AccessShareLock|RowExclusiveLock)$|^alter_table: +relname +\| +max_lockmode|^alter_table: -+\+-+$|^alter_table: \([0-9]+ rows?\)$/d
  s/ +\| / | /
}

# psql shows where a notice of replication comes from.
/^psql: CONTEXT:  PL\/pgSQL function replication\.follow_creation\(\)/,/^psql: PL\/pgSQL function replication\.follow_ddl\(\)/d

# The catalog has functions of replication and of this test.
/^opr_sanity: ( +[0-9]+ \| [a-z_]+| +oid +\| +proname *|-+\+-+|\([0-9]+ rows?\))$/d

# \dp shows that capture may read the tables.
/^rowsecurity: \\dp$/,/^rowsecurity: $/d

# Event triggers of the application see what replication does in DDL, and are listed beside those of replication.
/^event_trigger: NOTICE:  (END|NORMAL|DROP): .*[ =]replication[._]/d
/^event_trigger: NOTICE:  END: command_tag=REVOKE type=FUNCTION identity=<NULL>$/d
/^event_trigger: +evtname +\| +descr /,/^event_trigger: $/d
