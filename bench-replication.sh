#!/usr/bin/env bash
# Usage: ./bench-replication.sh [--quick] [--only MEASURE] [--repetitions N] [--growth [--events-max N]] [--keep]
#
# Measures this system and PostgreSQL's native logical replication in turn: same servers, same data, same
# driver. Starts two PostgreSQL servers and six NATS nodes as plain processes, with their own ports and data
# (in .run/bench). Missing packages are installed (as root) or named. Prints a table, writes
# bench/results/latest.{md,json} and charts, and finally verifies that A equals B in both systems.
#
#   --quick          about two minutes: one repetition, shorter phases; writes to .run/bench/results
#   --only MEASURE   catchup, steady, latency, barrier, cost or idle; writes to .run/bench/results
#   --repetitions N  repetitions of each measure (3)
#   --growth         instead: speed and memory with a backlog of up to N events (--events-max 1000000),
#                    a large retained outbox, 20 tables, and a very large transaction. Writes
#                    bench/results/growth.md
#   --keep           leave the servers running, so that the next run starts faster. Stop them:
#                    RUN_DIR=.run/bench ./stop-replication.sh --purge
#
# BENCH_PORT_OFFSET (1500) is added to every default port of .env.example; .env is not read. A variable
# BENCH_SERVICE_<name> sets <name> for the services.
# Exit status: 0 measured, and A equals B; 1 failed; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"

readonly SERVERS=("${POSTGRES_COMPONENTS[@]}" "${NATS_COMPONENTS[@]}")
readonly MEASURES=(catchup steady latency barrier cost idle)

parse_arguments() {
  KEEP=false DRIVER_ARGUMENTS=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --keep) KEEP=true ;;
      --quick | --growth) DRIVER_ARGUMENTS+=("$1") ;;
      --only)
        [[ " ${MEASURES[*]} " == *" ${2:-} "* ]] || die_usage "--only takes one of: ${MEASURES[*]}."
        DRIVER_ARGUMENTS+=("$1" "$2")
        shift
        ;;
      --repetitions | --events-max)
        [[ ${2:-} =~ ^[1-9][0-9]{0,8}$ ]] || die_usage "$1 takes a number, not '${2:-}'."
        DRIVER_ARGUMENTS+=("$1" "$2")
        shift
        ;;
      *) die_usage "There is no option '$1'." ;;
    esac
    shift
  done
}

bench_settings_load() {
  export RUN_DIR=$ROOT/.run/bench ENV_FILE=/dev/null
  settings_move_ports "${BENCH_PORT_OFFSET:-1500}"
  settings_load
}

# What the driver must know about the servers, the programs and the machine.
driver_settings_export() {
  BENCH_POSTGRES_A=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_A_PORT
  BENCH_POSTGRES_B=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_B_PORT
  BENCH_NATS_A=$(service_nats_urls a)
  BENCH_NATS_B=$(service_nats_urls b)
  BENCH_PGBENCH=$(postgres_bin any)/pgbench
  [[ -x $BENCH_PGBENCH ]] || die "pgbench is missing. Install PostgreSQL's client tools (postgresql-contrib in some distributions)."
  BENCH_SERVICES=$(dirname "$(service_binary any)")
  BENCH_RUN_DIR=$RUN_DIR BENCH_RESULTS=$ROOT/bench/results
  BENCH_REVISION=$(git -C "$ROOT" describe --always --dirty --exclude='*' 2>/dev/null || printf unknown)
  BENCH_NATS_VERSION=$("$(nats_server)" --version)
  # shellcheck disable=SC2031 # the one changed in nats_start's subshell is not meant
  BENCH_NATS_PASSWORD=$NATS_PASSWORD BENCH_NATS_OPERATOR_PASSWORD=$NATS_ADMIN_PASSWORD
  export BENCH_POSTGRES_A BENCH_POSTGRES_B BENCH_NATS_A BENCH_NATS_B BENCH_NATS_PASSWORD BENCH_PGBENCH \
    BENCH_NATS_OPERATOR_PASSWORD BENCH_SERVICES BENCH_RUN_DIR BENCH_RESULTS BENCH_REVISION BENCH_NATS_VERSION
}

# Native logical replication needs wal_level = logical, so both systems are measured with it. The
# launcher's retry interval, 5 s by default, must not fall into a measure: that would be unfair to native.
postgres_make_logical() {
  local component
  for component in "${POSTGRES_COMPONENTS[@]}"; do
    [[ $(component_psql "$component" --tuples-only --no-align --command='show wal_level') != logical ]] || continue
    component_psql "$component" --quiet --command='alter system set wal_level = logical' \
      --command="alter system set wal_retrieve_retry_interval = '100ms'"
    component_stop "$component"
    components_start "$component" || die "$component does not start."
  done
}

servers_start() {
  ports_check "${SERVERS[@]}"
  trap bench_end EXIT
  components_start "${SERVERS[@]}" || die "The servers do not start."
  postgres_make_logical
  trap 'exit 130' INT TERM HUP
}

# In the background, so that a signal stops it at once; its services stop with it.
driver_run() {
  "$(service_binary bench-driver)" "${DRIVER_ARGUMENTS[@]}" &
  DRIVER=$!
  local status=0
  wait "$DRIVER" || status=$?
  DRIVER=''
  return "$status"
}

bench_end() {
  trap '' INT TERM HUP
  [[ -z ${DRIVER:-} ]] || kill "$DRIVER" 2>/dev/null || true
  servers_end
}

servers_end() {
  local component
  if $KEEP; then
    say "The servers keep running (--keep). Stop them: RUN_DIR=$RUN_DIR ./stop-replication.sh --purge"
    return
  fi
  reverse "${SERVERS[@]}"
  for component in "${REVERSED[@]}"; do component_stop "$component"; done
  for component in "${REVERSED[@]}"; do component_purge "$component"; done
}

main() {
  parse_arguments "$@"
  cd "$ROOT"
  layer_load native
  bench_settings_load
  run_dir_lock
  layer_prepare "${SERVERS[@]}" "${SERVICE_COMPONENTS[@]}"
  driver_settings_export
  servers_start
  driver_run
}

main "$@"
