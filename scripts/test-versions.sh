#!/usr/bin/env bash
# Usage: scripts/test-versions.sh [--source SERVER] [--target SERVER] [--nats SERVER] [--all] [TEST…]
#
# Stories on servers of other versions than the machine's own (in .run/versions): by default on the versions that
# docker-compose.yml names, which most users run, and only a core of the stories. Servers that are missing are fetched
# (scripts/install-servers.sh).
#
#   --source, --target   postgres-17, …      --nats   nats-2.12, …; nats-2 is the newest
#   --all                all stories
#   TEST                 only stories whose names contain one of these
#
# A step of test-replication.sh; test-matrix.sh runs it for each combination of versions. TEST_PORT_OFFSET moves its
# ports. Exit status: 0 all passed; 1 something failed; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"
source "$ROOT/scripts/test-servers.sh"
source "$ROOT/scripts/unoptimized.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 300)) # neither the demo's ports nor those of other tests
# What rests on SQL, on sessions and on the stream. Not in the core: stories of the same that take long, and say no more
# about a version.
readonly CORE=(
  delivery:: concurrency:: tables:: values:: apply:: recovery:: standby:: encryption:: broker:: newer::
  large::a_large_tick_in_which_ large::a_large_tick_goes_on_
)
readonly NOT_IN_CORE=(
  delivery::a_processor_that_is_slow_ tables::what_goes_behind_ tables::only_the_last_state_
)
# They mostly wait, beside other suites.
readonly CORE_THREADS=2

parse_arguments() {
  SOURCE_SERVER='' TARGET_SERVER='' NATS_CHOSEN='' ALL=false TESTS=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --all) ALL=true ;;
      --source)
        server_check postgres "$@"
        SOURCE_SERVER=$2
        shift
        ;;
      --target)
        server_check postgres "$@"
        TARGET_SERVER=$2
        shift
        ;;
      --nats)
        server_check nats "$@"
        NATS_CHOSEN=$2
        shift
        ;;
      -*) die_usage "There is no option '$1'." ;;
      *) TESTS+=("$1") ;;
    esac
    shift
  done
  SOURCE_SERVER=${SOURCE_SERVER:-$(compose_server postgres)} TARGET_SERVER=${TARGET_SERVER:-$(compose_server postgres)}
  NATS_CHOSEN=${NATS_CHOSEN:-$(compose_server nats)}
}

# server_check KIND OPTION VALUE
server_check() { [[ ${3:-} =~ ^$1-[0-9]+(\.[0-9]+)*$ ]] || die_usage "$2 takes a server whose name begins with $1-, as in $1-17."; }

servers_choose() {
  servers_install "$SOURCE_SERVER" "$TARGET_SERVER" "$NATS_CHOSEN"
  POSTGRES_A_BIN=$(server_bin "$SOURCE_SERVER") POSTGRES_B_BIN=$(server_bin "$TARGET_SERVER")
  NATS_SERVER=$(server_bin "$NATS_CHOSEN")/nats-server
  export POSTGRES_A_BIN POSTGRES_B_BIN NATS_SERVER
  say "A: PostgreSQL $(server_version "$SOURCE_SERVER"), B: PostgreSQL $(server_version "$TARGET_SERVER"), NATS $(server_version "$NATS_CHOSEN")"
  say "(docker-compose.yml names PostgreSQL $(compose_version postgres) and NATS $(compose_version nats).)"
}

filters_choose() {
  local test
  FILTERS=("${TESTS[@]}")
  if ! $ALL && [[ ${#TESTS[@]} -eq 0 ]]; then
    FILTERS=("${CORE[@]}")
    for test in "${NOT_IN_CORE[@]}"; do FILTERS+=(--skip "$test"); done
    export RUST_TEST_THREADS=${VERSIONS_TEST_THREADS:-$CORE_THREADS}
  fi
}

servers_end() {
  trap '' INT TERM HUP
  test_servers_end
}

main() {
  parse_arguments "$@"
  layer_load native
  servers_choose
  # Not older than any that is chosen: the newest of those that README.md names.
  ! $ALL || UPGRADED_SERVER=postgres-18
  test_servers_load versions "$PORT_OFFSET" 200
  filters_choose
  run_dir_lock
  servers_chosen_require
  trap servers_end EXIT
  trap 'exit 130' INT TERM HUP
  test_servers_start
  # The output of each story by itself, those that failed last. (Of the whole workspace, as everywhere: the features of
  # what is shared, and so what is compiled, depend on what is asked for.)
  RUST_TEST_NOCAPTURE=0 cargo test "${TEST_BUILD[@]}" --test stories -- --show-output "${FILTERS[@]}"
}

main "$@"
