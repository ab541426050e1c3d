# shellcheck shell=bash
# Runs the commands of docs/migrations.md as they stand, with a real migration tool, and what replication.advance_sequences
# promises. Sourced by scripts/test-adopting.sh, between two sections of its document.

# Django from PyPI, in an environment that later runs find again.
django_prepare() {
  local venv=$ROOT/.run/django
  export PYTHONDONTWRITEBYTECODE=1
  if ! "$venv/bin/python" -c 'import django, psycopg' 2>/dev/null; then
    rm -rf "$venv"
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages_install python3-venv
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'Django>=4.2,<6' 'psycopg[binary]>=3.1,<4'; } 2>&1 \
      || die "Django cannot be installed in $venv; the reason is above."
  fi
  PATH=$venv/bin:$PATH
}

story_of_migrations() {
  django_prepare
  document_run migrations.md 0 99
  grep --quiet 'language' "$RUN_DIR/reader/processor.log" || die "B did not wait for the column"
  [[ $(sql "$TARGET" "select string_agg(title || ' ' || language, ', ' order by id) from library_book") == "Der Zauberberg de, Middlemarch en, Candide fr" ]] \
    || die "B has: $(sql "$TARGET" "select * from library_book")"
  [[ $(sql "$SOURCE" "select count(*) from replication.attached where relation = 'django_migrations'::regclass") == 0 ]] || die "the tool's table is attached"
  # The application can move there.
  sql "$TARGET" "begin; insert into library_book (title, language) values ('Effi Briest', 'de'); rollback"
  story_of_sequences
  say "docs/migrations.md: $(document_commands migrations.md | grep --count .) lines of commands ran as they stand"
}

story_of_sequences() {
  local moved
  sql "$TARGET" "
    create schema counted;
    create table counted.\"Ahead\" (id serial primary key); insert into counted.\"Ahead\" values (5); select setval('counted.\"Ahead_id_seq\"', 100);
    create table counted.behind (\"The id\" bigint generated always as identity primary key);
    insert into counted.behind overriding system value values (7), (3);
    create table counted.fresh (id smallserial primary key); insert into counted.fresh values (1);
    create table counted.down (id serial primary key); alter sequence counted.down_id_seq increment -1 minvalue -1000 maxvalue 0 start 0 restart;
    insert into counted.down values (-20);
    create table counted.empty (id serial primary key)" >/dev/null
  moved=$(sql "$TARGET" "select string_agg(sequence || ' ' || new_value, ', ' order by sequence::text) from replication.advance_sequences()")
  [[ $moved == 'counted."behind_The id_seq" 7, counted.down_id_seq -20, counted.fresh_id_seq 1' ]] || die "these sequences moved: $moved"
  [[ $(sql "$TARGET" "select concat_ws(' ', nextval('counted.\"Ahead_id_seq\"'), nextval('counted.\"behind_The id_seq\"'), nextval('counted.fresh_id_seq'),
      nextval('counted.down_id_seq'), nextval('counted.empty_id_seq'))") == "101 8 2 -21 1" ]] || die "the next values are wrong"
  [[ -z $(sql "$TARGET" "select * from replication.advance_sequences()") ]] || die "a second call moves something"
  sql "$TARGET" "set client_min_messages = warning; drop schema counted cascade"
}
