#!/usr/bin/env bash
# Usage: scripts/test-soak.sh [--minutes N]
#
# Does anything grow without end? Runs the demo's servers and services, with ports and data of their own (in
# .run/soak) and a retention of seconds, under the load that one writer can make: 100 changed rows in each
# transaction. Every few seconds it waits until B has all of it, and prints a line of sizes (tables with their
# indexes), of memory, and of the time from a commit in A until B has it.
#
# The first third is for warming up. Of the rest, the largest of each in the second half may exceed the largest in the
# first half by a quarter and a little (GRACE_* in the script), or the soak fails; of the latency the median counts. Tables hold what came within the
# retention: where the second half was faster, they may be larger by as much.
#
#   --minutes N   how long (default: 5)
#
# ./test-replication.sh --soak runs it. Exit status: 0 all is flat, and A equals B; 1 not; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/test-databases.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 900)) # neither the demo's ports nor those of other tests
readonly KEPT_LOGS=$ROOT/.run/soak-logs
readonly RETENTION_S=20
readonly ROUND_S=10
readonly USERS=10000
readonly CATCH_UP_DEADLINE_S=120

# What is compared, and by how much more than a quarter it may exceed: kilobytes and milliseconds.
readonly TABLES=(outbox tick inbox processed applied marks)
readonly COLUMNS=(rate "${TABLES[@]}" publisher processor latency)
readonly GRACE_KB=8192 GRACE_MS=250

parse_arguments() {
  MINUTES=5
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --minutes)
        [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || die_usage "--minutes takes a number."
        MINUTES=$2
        shift
        ;;
      *) die_usage "There is no option '$1'." ;;
    esac
    shift
  done
}

soak_settings_load() {
  export RUN_DIR=$ROOT/.run/soak ENV_FILE=/dev/null
  export OUTBOX_RETENTION=$RETENTION_S INBOX_RETENTION=$RETENTION_S
  settings_move_ports "$PORT_OFFSET"
  settings_load
  export PGPASSWORD=$POSTGRES_PASSWORD
}

# The population whose rows change. Their number does not.
load_prepare() {
  in_a "insert into users (name, email) select 'Soak', 'soak' || i from generate_series(1, $USERS) i"
  in_a "insert into payments (user_id, amount, currency, description) select id, 1, 'EUR', 'balance' from users"
  LOAD=$(mktemp)
  cat >"$LOAD" <<'SQL'
\set first random(1, 9900)
update payments set amount = amount + 0.01, updated_at = clock_timestamp()
where user_id in (select id from users where email in (select 'soak' || i from generate_series(:first, :first + 99) i));
SQL
}

# In the order of the keys of nobody: two at once might wait for each other, so there is one.
load_run() {
  pgbench --no-vacuum --client=1 --protocol=prepared --time="$ROUND_S" --file="$LOAD" \
    --host=127.0.0.1 --port="$POSTGRES_A_PORT" --username=postgres transactions >"$RUN_DIR/log/pgbench.log" 2>&1 \
    || die "pgbench failed: $(tail -n 3 "$RUN_DIR/log/pgbench.log")"
}

# Sets LATENCY_MS to the time until B has a row that A commits now, behind all that is on its way.
latency_measure() {
  local begun_ms name
  name="Probe $EPOCHREALTIME"
  begun_ms=$(now_ms)
  in_a "update users set name = '$name' where email = 'soak1'"
  until [[ $(in_b "select count(*) from users where email = 'soak1' and name = '$name'") == 1 ]]; do
    (($(now_ms) - begun_ms < CATCH_UP_DEADLINE_S * 1000)) || die "B has not caught up within $CATCH_UP_DEADLINE_S s."
    sleep 0.01
  done
  LATENCY_MS=$(($(now_ms) - begun_ms))
}

# sizes RELATION…: SQL for their kilobytes, tables with their indexes.
sizes() {
  local relation columns=()
  for relation in "$@"; do columns+=("pg_total_relation_size('replication.$relation') / 1024"); done
  (IFS=, && printf 'select %s' "${columns[*]}")
}

memory_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$(<"$RUN_DIR/$1.pid")/status"; }

# Adds a line to SAMPLES: seconds, events, and COLUMNS.
sample() {
  local outbox tick progress inbox processed applied position events rate elapsed_s=$((SECONDS - BEGUN_S))
  latency_measure # until B has all of the round
  BACKLOG_MS=$LATENCY_MS
  latency_measure # at rest
  IFS='|' read -r outbox tick progress < <(in_a "$(sizes outbox_event tick progress)")
  IFS='|' read -r inbox processed applied position < <(in_b "$(sizes inbox_batch processed_events applied_tick position)")
  events=$(in_a "select last_value from pg_sequences where schemaname = 'replication' and sequencename like 'outbox_event%'")
  rate=$(((events - EVENTS) / (elapsed_s - ELAPSED_S)))
  EVENTS=$events ELAPSED_S=$elapsed_s
  SAMPLES+=("$elapsed_s $events $rate $outbox $tick $inbox $processed $applied $((progress + position)) $(memory_kb outbox-publisher) $(memory_kb inbox-processor) $LATENCY_MS")
  sample_print "${SAMPLES[-1]}"
}

header_print() {
  printf '  %5s %9s %9s' s events 'catch-up'
  printf ' %9s' "${COLUMNS[@]}"
  printf '\n  %5s %9s %9s' '' '' ms
  printf ' %9s' 1/s KB KB KB KB KB KB 'KB RSS' 'KB RSS' ms
  printf '\n'
}

sample_print() {
  local fields
  read -r -a fields <<<"$1"
  printf '  %5s %9s %9s' "${fields[@]:0:2}" "$BACKLOG_MS"
  printf ' %9s' "${fields[@]:2}"
  printf '\n'
}

# largest FIELD FROM TO: of the samples FROM to TO, not included.
largest() {
  local number fields most=0
  for ((number = $2; number < $3; number++)); do
    read -r -a fields <<<"${SAMPLES[number]}"
    ((fields[$1] <= most)) || most=${fields[$1]}
  done
  printf '%s' "$most"
}

# median FIELD FROM TO: likewise.
median() {
  local number fields values=()
  for ((number = $2; number < $3; number++)); do
    read -r -a fields <<<"${SAMPLES[number]}"
    values+=("${fields[$1]}")
  done
  mapfile -t values < <(printf '%s\n' "${values[@]}" | sort --numeric-sort)
  printf '%s' "${values[${#values[@]} / 2]}"
}

# Prints the verdict of each column; false where one grew.
judge() {
  local column field=3 first second grace limit flat=true rate_first rate_second
  local warm=$((${#SAMPLES[@]} / 3)) half
  half=$((warm + (${#SAMPLES[@]} - warm) / 2))
  ((half > warm)) || die "That was too short to judge: --minutes 2 is the least."
  heading "Largest (of the latency: the median) in the first half after warming up, and in the second"
  rate_first=$(largest 2 "$warm" "$half") rate_second=$(largest 2 "$half" "${#SAMPLES[@]}")
  ((rate_second > rate_first)) || rate_second=$rate_first
  say "$(printf '%-10s %9s %9s' rate "$rate_first" "$rate_second") events/s"
  for column in "${COLUMNS[@]:1}"; do
    first=$(largest "$field" "$warm" "$half") second=$(largest "$field" "$half" "${#SAMPLES[@]}")
    grace=$GRACE_KB
    # Other load on the machine shows in the worst latency.
    [[ $column != latency ]] \
      || { grace=$GRACE_MS first=$(median "$field" "$warm" "$half") second=$(median "$field" "$half" "${#SAMPLES[@]}"); }
    limit=$((first * 5 / 4 + grace))
    [[ " ${TABLES[*]} " != *" $column "* ]] || limit=$((first * 5 * rate_second / (4 * rate_first) + grace))
    if ((second <= limit)); then
      say "$(printf '%-10s %9s %9s' "$column" "$first" "$second") ${GREEN}flat${PLAIN} (limit $limit)"
    else
      say "$(printf '%-10s %9s %9s' "$column" "$first" "$second") ${RED}grows${PLAIN} (limit $limit)"
      flat=false
    fi
    field=$((field + 1))
  done
  $flat
}

require_equal() {
  local table in_a in_b
  for table in users payments; do
    in_a=$(in_a "select md5(string_agg(t::text, '' order by id)) from $table t")
    in_b=$(in_b "select md5(string_agg(t::text, '' order by id)) from $table t")
    [[ $in_a == "$in_b" ]] || die "$table differs between A and B."
  done
  say "A equals B."
}

soak_end() {
  trap '' INT TERM HUP
  rm -f "${LOAD:-}"
  rm -rf "$KEPT_LOGS"
  [[ ! -d $RUN_DIR/log ]] || cp -r "$RUN_DIR/log" "$KEPT_LOGS"
  "$ROOT/stop-replication.sh" --purge >/dev/null || true
  say "All logs: $KEPT_LOGS"
}

main() {
  parse_arguments "$@"
  type -P pgbench >/dev/null || die "pgbench is missing: it comes with PostgreSQL's packages (postgresql-contrib in some distributions)."
  soak_settings_load
  trap soak_end EXIT
  trap 'exit 130' INT TERM HUP
  "$ROOT/start-replication.sh" --native >/dev/null
  "$ROOT/stop-replication.sh" data-generator >/dev/null
  load_prepare
  SAMPLES=() BEGUN_S=$SECONDS EVENTS=$((2 * USERS)) ELAPSED_S=0
  heading "$MINUTES minutes, retention $RETENTION_S s"
  header_print
  while ((SECONDS - BEGUN_S < MINUTES * 60)); do
    load_run
    sample
  done
  require_equal
  judge || die "Something grows."
  say "${GREEN}Flat${PLAIN}: $EVENTS events in $ELAPSED_S s."
}

main "$@"
