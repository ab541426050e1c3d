#!/usr/bin/env bash
# Usage: ./test-replication.sh [--keep] [-- CARGO_TEST_ARGUMENT…]
#        ./test-replication.sh --faults [--seed N] [--minutes N]
#        ./test-replication.sh --soak [--minutes N]
#        ./test-replication.sh --mutations [NAME…]
#
# Checks everything: format, clippy, the scripts, and the Rust tests, which run against PostgreSQL
# and NATS servers that are started for them, on ports and with data of their own (in .run/test).
# What is missing on the machine is installed (as root) or named.
#
#   --keep   leave the servers running, so that the next run is quicker
#   --       run only the Rust tests, and hand what follows to cargo test:
#            ./test-replication.sh --keep -- name_of_a_test
#   --faults     only the fault suite, with these options (see scripts/test-faults.sh --help)
#   --soak       millions of events with short retention: do sizes, memory and latency stay flat?
#                (see scripts/test-soak.sh --help)
#   --mutations  takes one protection after the other out of a copy, and asserts which test notices it
#                (see scripts/test-mutations.sh --help)
#
# TEST_PORT_OFFSET (400) is added to every default port of .env.example; .env is not read.
# Exit status: 0 all is well; 1 something failed, named in the last lines; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"
source "$ROOT/scripts/test-servers.sh"

parse_arguments() {
  KEEP=false ONLY_RUST=false CARGO_TEST_ARGUMENTS=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --keep) KEEP=true ;;
      --faults | --soak | --mutations) exec "$ROOT/scripts/test-${1#--}.sh" "${@:2}" ;;
      --)
        shift
        ONLY_RUST=true CARGO_TEST_ARGUMENTS=("$@")
        return
        ;;
      *) die_usage "There is no option '$1'." ;;
    esac
    shift
  done
}

# step TITLE COMMAND…: a function as well, whose status counts (bash's errexit is off inside).
step() {
  local title=$1 begun_ms
  shift
  heading "$title"
  begun_ms=$(now_ms)
  "$@" || die "Failed: $title. (Its output is above; run by itself: $*)"
  say "${GREEN}ok${PLAIN}, $(seconds_since "$begun_ms") s"
}

check_tools() {
  prepare_packages "postgres nats service" || return
  type -P shellcheck >/dev/null || packages_install shellcheck || return
  # Where money is written otherwise than in the C locale: tests/stories/values.rs.
  scripts/install-locales.sh de_DE ja_JP || return
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages_install libfaketime || return
  require_cargo
  if ! { cargo fmt --version && cargo clippy --version; }; then
    die "rustfmt or clippy is missing: rustup component add rustfmt clippy"
  fi
}

check_shell() {
  local files
  files=$(git ls-files --cached --others --exclude-standard '*.sh' .ci/run) || return
  mapfile -t files <<<"$files"
  shellcheck "${files[@]}"
}

build() {
  cargo build --release --locked --workspace
}

# Services that can be made to die between two steps, beside those that cannot: only what the feature
# touches is compiled for them. The others take their place again.
build_kill_points() {
  local services=(outbox-publisher inbox-processor)
  cargo build --release --locked --workspace "${services[@]/#/--bin=}" \
    --features outbox-publisher/kill-points,inbox-processor/kill-points \
    && mkdir -p "$TEST_KILL_POINTS_DIR" \
    && cp "${services[@]/#/$TEST_BIN_DIR/}" "$TEST_KILL_POINTS_DIR/" \
    && build
}

servers_start() {
  STARTED=()
  ports_check "${SERVERS[@]}"
  components_start_in_order "${SERVERS[@]}"
}

servers_end() {
  if $KEEP; then
    say "The servers keep running (--keep). End them: RUN_DIR=$RUN_DIR ./stop-replication.sh --purge"
  else
    test_servers_end
  fi
}

# The demo in containers takes longest, and mostly waits: it begins as soon as there is something to run, and
# runs beside all others.
containers_begin() {
  CONTAINERS_DIR=$(mktemp --directory)
  # The next step builds them otherwise, for a while.
  cp "${SERVICE_COMPONENTS[@]/#/$TEST_BIN_DIR/}" "$CONTAINERS_DIR/"
  timeout --kill-after=30 1000 scripts/test-containers.sh --older-services "$CONTAINERS_DIR" >"$CONTAINERS_DIR/log" 2>&1 &
  CONTAINERS_PID=$!
}

containers_end() {
  local status=0
  wait "$CONTAINERS_PID" || status=$?
  CONTAINERS_PID=''
  cat "$CONTAINERS_DIR/log"
  rm -rf "$CONTAINERS_DIR"
  return "$status"
}

containers_abandon() {
  [[ -n ${CONTAINERS_PID:-} ]] || return 0
  kill "$CONTAINERS_PID" 2>/dev/null || true
  wait "$CONTAINERS_PID" || true
  cat "$CONTAINERS_DIR/log"
  rm -rf "$CONTAINERS_DIR"
}

main() {
  local begun_ms
  begun_ms=$(now_ms)
  parse_arguments "$@"
  cd "$ROOT"
  layer_load native
  test_servers_load test "${TEST_PORT_OFFSET:-400}" 200
  export TEST_KILL_POINTS_DIR=${TEST_BIN_DIR%/*}/kill-points
  run_dir_lock
  step "Tools" check_tools
  if ! $ONLY_RUST; then
    step "Format" cargo fmt --all --check
    step "What the scripts say" scripts/test-scripts.sh
    step "Mutations still fit" scripts/test-mutations.sh --check
  fi
  step "Build" build
  if ! $ONLY_RUST; then
    trap containers_abandon EXIT
    containers_begin
  fi
  step "Build, with kill points" build_kill_points
  if ! $ONLY_RUST; then
    step "Clippy" cargo clippy --workspace --all-targets --locked --release -- --deny warnings
    step "Shell scripts" check_shell
    step "The demo, as an operator runs it" scripts/test-demo.sh
    step "A database of one's own, as docs/adopting.md says" scripts/test-adopting.sh
    step "Faults, shortly" scripts/test-faults.sh
  fi
  trap 'servers_end; containers_abandon' EXIT
  trap 'exit 130' INT TERM HUP
  step "Servers for the tests" servers_start
  # The stories mostly wait, too.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) + 1))}
  step "Rust tests" cargo test --release --locked --workspace "${CARGO_TEST_ARGUMENTS[@]}"
  $ONLY_RUST || step "The demo in containers, beside the steps above" containers_end
  heading "${GREEN}All is well${PLAIN}, after $(seconds_since "$begun_ms") s."
}

main "$@"
