#!/usr/bin/env bash
# Usage: scripts/test-adopting.sh
#
# Runs the commands of docs/adopting.md and docs/migrations.md as they stand, in their order, against servers of its own: what the
# document tells people to type works. In between, the check of these databases meets trouble. A step of test-replication.sh. TEST_PORT_OFFSET moves its ports.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/test-adopting/check.sh"
source "$ROOT/scripts/test-adopting/migrations.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 700)) # neither the demo's ports nor those of other tests
readonly SERVERS=(postgres-a postgres-b nats-a-1 nats-a-2 nats-a-3 nats-b-1 nats-b-2 nats-b-3)

own_settings_load() {
  local setting
  export RUN_DIR=$ROOT/.run/adopting-test ENV_FILE=/dev/null
  for setting in "${SETTINGS[@]}"; do
    [[ $setting != *_PORT=* ]] || export "${setting%%=*}=$((${setting#*=} + PORT_OFFSET))"
  done
  settings_load
  layer_load native
}

# What the document says that its reader has.
reader_has() {
  export SOURCE=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_A_PORT/own
  export TARGET=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_B_PORT/own
  export SOURCE_HOST=127.0.0.1:$POSTGRES_A_PORT/own TARGET_HOST=127.0.0.1:$POSTGRES_B_PORT/own
  # shellcheck disable=SC2031 # the one changed in a subshell is not meant
  export HTTP_ADDRESS=off # a demo beside this may have the ports
  # shellcheck disable=SC2031
  export NATS_USER=operator NATS_PASSWORD=$NATS_ADMIN_PASSWORD REPLICATION_PASSWORD=secret
  NATS_SOURCE=$(service_nats_urls a)
  NATS_TARGET=$(service_nats_urls b)
  PATH=$(dirname "$(service_binary any)"):$(postgres_bin postgres-a):$PATH
  export NATS_SOURCE NATS_TARGET PATH
}

# The document's own databases, away from the demo's tables.
databases_make() {
  local url
  for url in "$SOURCE" "$TARGET"; do
    psql "${url%/*}/postgres" --quiet --command="create database own"
  done
}

# document_commands DOCUMENT [FROM TO]: of these sections only, by number.
document_commands() {
  awk -v from="${2:-0}" -v to="${3:-99}" '
    /^## [0-9]/ { section = $2 + 0 }
    /^```sh$/ { inside = section >= from && section <= to; next }
    /^```$/ { inside = 0 }
    inside' "$ROOT/docs/$1"
}

# document_run DOCUMENT [FROM TO]
document_run() {
  local directory=$RUN_DIR/reader
  mkdir -p "$directory"
  ln -sfn "$ROOT"/{examples,compare-replication.sh,check-replication.sh} "$directory/"
  (cd "$directory" && document_commands "$@" | timeout 300 bash -eu /dev/stdin) >"$directory/output" 2>&1 || {
    tail -n 40 "$directory/output" "$directory"/*.log >&2 || true
    die "a command of docs/$1 failed, or did not end within 300 s: its output is above."
  }
}

# What section 7 did: B has all of the table, and a copy of the source captures nothing.
story_of_a_table_that_came_later() {
  local copy=${TARGET%/*}/copy_of_the_source of_table="'shop.note'::regclass"
  own_check_says 0 "as far as the databases tell"
  [[ $(sql "$TARGET" "select (select count(*) from shop.note) || ' ' || (select count(*) from pg_constraint where conrelid = $of_table and contype = 'f')
      || ' ' || (select count(*) from pg_trigger where tgrelid = $of_table and not tgisinternal)") == "1 1 0" ]] \
    || die "shop.note is not in B as it is in A"
  [[ $(sql "$copy" "select count(*) from pg_trigger where tgname like 'replication%'") == 0 ]] || die "the copy captures"
  sql "$TARGET" "drop database copy_of_the_source"
}

# As wide as PostgreSQL allows, with names as long: its columns are no argument of a program.
story_of_a_wide_table() {
  local url columns
  columns=$(seq --format='column_%g_of_a_table_with_very_long_names_as_generators_make' 1599 | sed 's/.*/, & int/')
  for url in "$SOURCE" "$TARGET"; do
    printf 'create table wide (id int primary key%s);\n' "$columns" | psql "$url" --quiet --set=ON_ERROR_STOP=1
  done
  sql "$TARGET" "select replication.accept('wide', 'replication_processor')"
  sql "$SOURCE" "select replication.attach('wide')" >/dev/null
  sql "$SOURCE" "insert into wide (id) values (1)"
  own_check_says 0 "as far as the databases tell"
  SOURCE_DATABASE_URL=$SOURCE TARGET_DATABASE_URL=$TARGET "$ROOT/compare-replication.sh" wide >/dev/null || die "a table of 1,600 columns is not compared"
  sql "$SOURCE" "select replication.detach('wide')" >/dev/null
  own_check_says 0 "(select * from replication.not_attached)"
}

clean_up() {
  local pid_file
  for pid_file in "$RUN_DIR"/reader/*.pid; do
    [[ ! -e $pid_file ]] || kill "$(<"$pid_file")" 2>/dev/null || true
  done
  rm -rf "$RUN_DIR/reader"
  "$ROOT/stop-replication.sh" --purge >/dev/null 2>&1 || true
}

main() {
  local output
  own_settings_load
  rm -rf "$RUN_DIR/reader" # of a run that was killed; its process ids mean others now
  trap clean_up EXIT
  output=$("$ROOT/start-replication.sh" --native "${SERVERS[@]}" 2>&1) || die "the servers did not start:"$'\n'"$output"
  reader_has
  databases_make
  document_run adopting.md 1 6
  story_of_a_check_of_ones_own
  document_run adopting.md 7 7
  story_of_a_table_that_came_later
  story_of_a_wide_table
  story_of_migrations
  document_run adopting.md 8 99
  say "docs/adopting.md: $(document_commands adopting.md | grep --count .) lines of commands ran as they stand"
}

main "$@"
