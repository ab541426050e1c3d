#!/usr/bin/env bash
# Usage: scripts/test-regress.sh [FILE…]
#
# Runs PostgreSQL's own regression files twice, side by side on two servers of their own (in .run/regress): on one of them
# as they are, on the other with every table attached that replication.attach accepts, as soon as it is created. What the
# files print must be the same, but for known noise; and the outbox, folded to the last state of each key, must equal the
# tables after each file, and before each command that changes or drops a table. Takes five to ten minutes.
#
#   FILE…   only these, after test_setup (files may need others before them)
#
# scripts/test-regress/: capture.sql attaches and compares; noise.sed takes out of both outputs what may differ;
# not-attached.txt names tables that are not to be attached, left-out.txt files that are not run, each with the reason.
# All outputs are kept in .run/regress-logs. A step of ./test-replication.sh --matrix.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 1100)) # neither the demo's ports nor those of other tests
readonly HERE=$ROOT/scripts/test-regress
readonly OUTPUTS=$ROOT/.run/regress-logs
readonly FILE_DEADLINE_S=300
readonly SIDES=(plain captured)

# Of all files together, at least; so that coverage does not shrink unnoticed.
readonly -A LEAST=([files]=214 [tables]=260 [inserts]=106000 [updates]=160 [deletes]=82000 [rows]=800000)

servers_create() {
  local side
  for side in "${SIDES[@]}"; do
    # As pg_regress has it; and plans that do not depend on when autovacuum came by.
    "$ROOT/scripts/test-postgres.sh" create "$side" "${PORT[$side]}" max_prepared_transactions=2 autovacuum=off fsync=off
    AREA[$side]=$(readlink --canonicalize "$RUN_DIR/private-$side/data/postgres-a")/regress
    area_make "${AREA[$side]}"
    database_create "$side"
  done
}

# The files where the server can read them, with a place for what they write.
area_make() {
  cp --recursive --dereference "$SOURCE/regress" "$1"
  cp --recursive --dereference "$SOURCE/lib" "$1/lib"
  mkdir -p "$1/results"
  [[ $EUID -ne 0 ]] || chown --recursive postgres: "$1"
}

# As pg_regress creates it.
database_create() {
  local setting
  DATABASE=postgres sql "$1" "create database regression template template0 encoding 'UTF8' locale 'C'"
  for setting in lc_messages lc_monetary lc_numeric lc_time; do sql "$1" "alter database regression set $setting to 'C'"; done
  sql "$1" "alter database regression set bytea_output to 'hex'" "alter database regression set timezone_abbreviations to 'Default'"
}

# sql SIDE STATEMENT…
sql() {
  local side=$1 statement arguments=()
  shift
  for statement in "$@"; do arguments+=(--command="$statement"); done
  psql_of "$side" --dbname="${DATABASE:-regression}" --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "${arguments[@]}"
}

psql_of() {
  PGPASSWORD=$POSTGRES_PASSWORD timeout --foreground "$FILE_DEADLINE_S" "$PROGRAMS/psql" --no-psqlrc --host=127.0.0.1 --port="${PORT[$1]}" --username=postgres "${@:2}"
}

capture_prepare() {
  local binary
  binary=$(service_binary outbox-publisher)
  env --ignore-environment DATABASE_URL="postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:${PORT[captured]}/regression" \
    "$binary" migrate >"$OUTPUTS/migrate.log" 2>&1 || die "outbox-publisher migrate failed: $OUTPUTS/migrate.log"
  sql captured "set client_min_messages = warning" "\\i $HERE/capture.sql"
  lines_of not-attached | psql_of captured --dbname=regression --quiet --set=ON_ERROR_STOP=1 \
    --command="\\copy capture_test.not_attached (file, relation, never) from stdin with (delimiter ' ')"
}

# lines_of LIST: its lines without their reasons; of not-attached "FILE TABLE NEVER".
lines_of() {
  case $1 in
    left-out) awk '/^[^#]/ { print $1 }' "$HERE/$1.txt" ;;
    not-attached) awk '/^[^#]/ { print $1, $2, $3 == "never:" ? "t" : "f" }' "$HERE/$1.txt" ;;
  esac
}

# The comparison notices an event that is missing, whichever it is.
comparison_prove() {
  local lost
  sql captured "create table lost (id int primary key, what text)" \
    "insert into lost values (1, 'changed'), (2, 'deleted'), (3, 'inserted')" "update lost set what = 'now' where id = 1" \
    "delete from lost where id = 2"
  compare_all
  [[ -z $(differences) ]] || die "Nothing is missing, and the comparison finds: $(differences)"
  for lost in "'U'" "'D'" "'I' and key_text = '(3)'"; do
    sql captured "create table capture_test.kept as select * from replication.outbox_event" \
      "delete from replication.outbox_event where operation = $lost"
    compare_all
    [[ -n $(differences) ]] || die "An event is missing (operation $lost), and the comparison finds nothing."
    sql captured "truncate capture_test.difference" "truncate replication.outbox_event" \
      "insert into replication.outbox_event overriding system value select * from capture_test.kept" "drop table capture_test.kept"
  done
  sql captured "drop table lost" "truncate capture_test.attachment, capture_test.comparison, replication.outbox_event"
}

compare_all() { sql captured "select capture_test.compare_all()" >/dev/null; }
differences() { sql captured "select file || ': ' || relation || ': ' || what from capture_test.difference"; }

# file_run FILE: on both sides at once. False if it fails.
file_run() {
  local file=$1 side pids=() pid ended=true
  sql captured "select capture_test.begin_file('$file')" >/dev/null
  for side in "${SIDES[@]}"; do
    file_run_on "$side" "$file" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || ended=false; done
  if ! $ended; then
    failed "$file" "it did not end within $FILE_DEADLINE_S s"
    return
  fi
  outputs_compare "$file"
  compare_all
  captured_judge "$file"
}

# As pg_regress runs it. A file that prints errors ends with 0 as well.
file_run_on() {
  local side=$1 file=$2 area=${AREA[$1]} status=0
  env --unset=LANGUAGE --unset=LC_ALL LC_MESSAGES=C PGTZ="$TIME_ZONE" PGDATESTYLE='Postgres, MDY' PGAPPNAME="pg_regress/$file" \
    PGOPTIONS='-c intervalstyle=postgres_verbose' \
    PG_ABS_SRCDIR="$area" PG_ABS_BUILDDIR="$area" PG_LIBDIR="$area/lib" PG_DLSUFFIX=.so PGPASSWORD="$POSTGRES_PASSWORD" \
    timeout --kill-after=5 "$FILE_DEADLINE_S" \
    "$PROGRAMS/psql" --no-psqlrc --echo-all --quiet --host=127.0.0.1 --port="${PORT[$side]}" --username=postgres --dbname=regression \
    --set=HIDE_TABLEAM=on --set=HIDE_TOAST_COMPRESSION=on \
    <"$area/sql/$file.sql" >"$OUTPUTS/$side/$file.out" 2>&1 || status=$?
  ((status != 124 && status != 137))
}

# Each line with the file before it, so that noise can be that of one file.
outputs_compare() {
  local file=$1 side
  for side in "${SIDES[@]}"; do
    sed "s|${AREA[$side]}|AREA|g; s|^|$file: |" "$OUTPUTS/$side/$file.out" | sed --regexp-extended --file="$HERE/noise.sed" \
      >"$OUTPUTS/$side/$file.compared"
  done
  if diff --unified=3 "$OUTPUTS"/{plain,captured}/"$file.compared" >"$OUTPUTS/$file.diff"; then
    rm "$OUTPUTS/$file.diff"
  else
    failed "$file" "it prints something else under capture"$'\n'"$(sed --quiet '3,42p' "$OUTPUTS/$file.diff")"
  fi
}

# What went wrong in the captured database while the file ran.
captured_judge() {
  local file=$1 found
  found=$(sql captured "select relation || ': ' || what from capture_test.difference where file = '$file' limit 10")
  [[ -z $found ]] || failed "$file" "the folded outbox is not what the tables hold:"$'\n'"$found"
  found=$(sql captured "select relation || ': ' || error from capture_test.failure where file = '$file' limit 10")
  [[ -z $found ]] || failed "$file" "a table is accepted and then cannot be attached:"$'\n'"$found"
  # A table that cannot be attached may have the name of one that was.
  found=$(sql captured "select distinct table_name || ': ' || problem from replication.capture_problem
    where problem !~ 'and this is another one; run: select replication\\.attach' limit 10")
  [[ -z $found ]] || failed "$file" "replication.capture_problem says:"$'\n'"$found"
}

failed() {
  error "$1: $2"
  FAILED+=("$1: ${2%%$'\n'*}")
}

files_run() {
  local file begun_ms
  for file in "${FILES[@]}"; do
    begun_ms=$(now_ms)
    file_run "$file"
    progress "$file" "$(seconds_since "$begun_ms") s"
  done
}

# Sets FILES to those of the schedule that are not left out, in its order; or to those wanted, after test_setup.
files_choose() {
  local file left_out scheduled
  left_out=" $(lines_of left-out | tr '\n' ' ')"
  scheduled=" $(sed --quiet 's/^test: *//p' "$SOURCE/regress/parallel_schedule" | tr -s ' \n' ' ')"
  FILES=()
  for file in $left_out; do
    [[ $scheduled == *" $file "* ]] || die "left-out.txt names $file, which is not in PostgreSQL's schedule."
  done
  for file in $scheduled; do
    [[ $left_out == *" $file "* ]] || FILES+=("$file")
  done
  [[ $# -gt 0 ]] || return 0
  for file in "$@"; do
    [[ " ${FILES[*]} " == *" $file "* ]] || die_usage "'$file' is none of the files that are run."
  done
  FILES=(test_setup)
  for file in "$@"; do [[ $file == test_setup ]] || FILES+=("$file"); done
}

# Prints what was covered; false if it was less than it must be.
coverage_print() {
  local comparisons truncates what enough=true
  local -A found=([files]=${#FILES[@]})
  IFS='|' read -r 'found[tables]' comparisons 'found[rows]' 'found[inserts]' 'found[updates]' 'found[deletes]' truncates < <(sql captured "
    select (select count(*) from capture_test.attachment), c.comparisons, c.rows, e.inserts, e.updates, e.deletes, e.truncates
    from (select sum(tables) as comparisons, sum(rows) as rows from capture_test.comparison) c,
         (select count(*) filter (where operation = 'I') as inserts, count(*) filter (where operation = 'U') as updates,
                 count(*) filter (where operation = 'D') as deletes, count(*) filter (where operation = 'T') as truncates
          from replication.outbox_event) e")
  say "${found[files]} files ran, $(lines_of left-out | wc --lines) were left out; ${found[tables]} tables were attached, $(lines_of not-attached | wc --lines) were not to be"
  say "folded: ${found[inserts]} inserts, ${found[updates]} updates, ${found[deletes]} deletes, $truncates truncates; compared: ${found[rows]} rows in $comparisons comparisons"
  for what in "${!LEAST[@]}"; do
    ((${found[$what]} >= ${LEAST[$what]})) || { error "Only ${found[$what]} $what; there must be ${LEAST[$what]} (LEAST in $0)." && enough=false; }
  done
  $enough
}

list_require_met() {
  local unmet
  unmet=$(sql captured "select string_agg(file || ' ' || relation, ', ' order by file, relation) from capture_test.not_attached where not is_met")
  [[ -z $unmet ]] || failed not-attached.txt "nothing needs these lines of it: $unmet"
}

servers_remove() {
  local side
  trap '' INT TERM HUP
  for side in "${SIDES[@]}"; do
    [[ ! -d $RUN_DIR/private-$side ]] || {
      cp "$RUN_DIR/private-$side"/log/*.log "$OUTPUTS/$side/" 2>/dev/null || true
      "$ROOT/scripts/test-postgres.sh" remove "$side" 1
    }
  done
  rm -f "$RUN_DIR/lock"
  rmdir --ignore-fail-on-non-empty "$RUN_DIR"
}

prepare() {
  export RUN_DIR=$ROOT/.run/regress ENV_FILE=/dev/null TEST_RUN_DIR=$ROOT/.run/regress
  settings_move_ports "$PORT_OFFSET"
  settings_load
  layer_load native
  run_dir_lock
  prepare_packages "postgres service"
  require_cargo
  PROGRAMS=$(postgres_bin any)
  declare -gA PORT=([plain]=$POSTGRES_A_PORT [captured]=$POSTGRES_B_PORT) AREA=()
  SOURCE=$ROOT/.run/regress-source/$("$PROGRAMS/postgres" --version | awk '{ print $3 }')
  "$HERE/source.sh" "$PROGRAMS/postgres" "$SOURCE"
  # Not the same in all versions.
  TIME_ZONE=$(sed --quiet --regexp-extended 's/.*setenv\("PGTZ", "([^"]+)".*/\1/p' "$SOURCE/regress/pg_regress.c")
  (cd "$ROOT" && cargo build --release --locked --workspace)
  rm -rf "$OUTPUTS"
  mkdir -p "${SIDES[@]/#/$OUTPUTS/}"
}

main() {
  local begun_ms
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    -*) die_usage "There is no option '$1'." ;;
  esac
  begun_ms=$(now_ms)
  FAILED=()
  prepare
  files_choose "$@"
  trap servers_remove EXIT
  trap 'exit 130' INT TERM HUP
  servers_create
  capture_prepare
  comparison_prove
  files_run
  if [[ $# -eq 0 ]]; then
    list_require_met
    coverage_print || FAILED+=("less was covered than before")
  fi
  if [[ ${#FAILED[@]} -gt 0 ]]; then
    heading "Failed, after $(seconds_since "$begun_ms") s"
    printf '  %s\n' "${FAILED[@]}"
    die "The outputs and the differences are in $OUTPUTS."
  fi
  say "All is the same, after $(seconds_since "$begun_ms") s."
}

main "$@"
