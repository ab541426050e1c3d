#!/usr/bin/env bash
# Usage: scripts/test-faults.sh [--seed N] [--minutes N] [TEST]
#
# The fault suite: eight servers of its own (in .run/faults) and the services are killed, frozen, cut off and
# wiped under load, by a schedule that the seed decides. What must hold is in tests/stories/faults/mod.rs.
#
#   --seed N      the schedule; the same seed gives the same one (default: another one each time)
#   --minutes N   how long (default: 0.7); from 3 on a recovery that takes more than 30 s is a failure
#   TEST          only tests of the suite whose names begin so
#
# ./test-replication.sh runs it briefly; ./test-replication.sh --faults runs it with these options.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"
source "$ROOT/scripts/test-servers.sh"
source "$ROOT/scripts/unoptimized.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 200)) # neither the demo's ports nor those of other tests

parse_arguments() {
  SEED=$RANDOM$RANDOM MINUTES=0.7 TEST=faults::
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --seed)
        [[ ${2:-} =~ ^[0-9]+$ ]] || die_usage "--seed takes a whole number."
        SEED=$2
        shift
        ;;
      --minutes)
        [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die_usage "--minutes takes a number."
        MINUTES=$2
        shift
        ;;
      -*) die_usage "There is no option '$1'." ;;
      *) TEST=faults::$1 ;;
    esac
    shift
  done
}

# Servers that the suite froze cannot end before they are resumed.
servers_end() {
  local component pid
  trap '' INT TERM HUP
  for component in "${SERVERS[@]}"; do
    if pid=$(process_id "$component"); then
      kill -s CONT "$pid" 2>/dev/null || true
      pkill --signal CONT --parent "$pid" 2>/dev/null || true
    fi
  done
  test_servers_end
}

main() {
  parse_arguments "$@"
  layer_load native
  test_servers_load faults "$PORT_OFFSET" 100
  export TEST_FAULTS_SEED=$SEED TEST_FAULTS_MINUTES=$MINUTES
  run_dir_lock
  ports_check "${SERVERS[@]}"
  trap servers_end EXIT
  trap 'exit 130' INT TERM HUP
  say "Seed $SEED, $MINUTES minutes. Once more: ./test-replication.sh --faults --seed $SEED --minutes $MINUTES"
  # The suite itself starts the servers: with its proxies before the gateways. (Of the whole workspace, as
  # everywhere: the features of what is shared, and so what is compiled, depend on what is asked for.)
  cargo test "${TEST_BUILD[@]}" --test stories -- "$TEST" --ignored --test-threads 1
}

main "$@"
