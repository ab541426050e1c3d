#!/usr/bin/env bash
# Usage: ./test-replication.sh [--keep] [-- CARGO_TEST_ARGUMENT…]
#        ./test-replication.sh --faults [--seed N] [--minutes N]
#        ./test-replication.sh --soak [--minutes N]
#        ./test-replication.sh --mutations [NAME…]
#        ./test-replication.sh --matrix [-- TEST…]
#
# Checks everything: format, clippy, the scripts, and the Rust tests, which run against PostgreSQL and NATS servers
# that are started for them, on ports and with data of their own (in .run/test). Builds come first; then the suites run
# side by side, and each shows its output when it ends. Installs what is missing on the machine (as root), or names it.
#
#   --keep   leave the servers running, so that the next run is quicker
#   --       run only the Rust tests, and hand what follows to cargo test:
#            ./test-replication.sh --keep -- name_of_a_test
#   --faults     only the fault suite, with these options (see scripts/test-faults.sh --help)
#   --soak       millions of events with short retention: do sizes, memory and latency stay constant?
#                (see scripts/test-soak.sh --help)
#   --mutations  takes one protection after the other out of a copy, and asserts which test notices it
#                (see scripts/test-mutations.sh --help)
#   --matrix     all stories on every combination of versions, and PostgreSQL's own regression files, with every
#                table attached that can be (see scripts/test-matrix.sh --help)
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
source "$ROOT/scripts/test-steps.sh"
source "$ROOT/scripts/test-prepare.sh"
source "$ROOT/scripts/unoptimized.sh"

parse_arguments() {
  KEEP=false ONLY_RUST=false CARGO_TEST_ARGUMENTS=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --keep) KEEP=true ;;
      --faults | --soak | --mutations | --matrix) exec "$ROOT/scripts/test-${1#--}.sh" "${@:2}" ;;
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

check_shell() {
  local files
  files=$(git ls-files --cached --others --exclude-standard '*.sh' .ci/run) || return
  xargs --max-procs="$(nproc)" --max-args=6 shellcheck <<<"$files"
}

servers_end() {
  if $KEEP; then
    say "The servers keep running (--keep). End them: RUN_DIR=$RUN_DIR ./stop-replication.sh --purge"
  else
    test_servers_end
  fi
}

# The demo in containers takes long, and mostly waits: it begins as soon as there is something to run.
containers_begin() {
  CONTAINERS_DIR=$(mktemp --directory)
  # The next step replaces them for a while.
  cp "${SERVICE_COMPONENTS[@]/#/$TEST_BIN_DIR/}" "$CONTAINERS_DIR/"
  step_beside "The demo in containers" scripts/test-containers.sh --older-services "$CONTAINERS_DIR"
}

quick_checks() {
  step "Format" cargo fmt --all --check
  step "Shell scripts" check_shell
  step "Messages and settings of the scripts" scripts/test-scripts.sh
  step "Mutations still fit" scripts/test-mutations.sh --check
}

# All of them mostly wait, for servers of their own: the longest first.
suites_run() {
  # The output of each story by itself, those that failed last.
  step_beside "Rust tests" env RUST_TEST_NOCAPTURE=0 cargo test "${TEST_BUILD[@]}" -- --show-output
  step_beside "The demo, as an operator runs it" scripts/test-demo.sh
  step_beside "A core of the stories, on the versions of docker-compose.yml" scripts/test-versions.sh
  step_beside "Faults, briefly" scripts/test-faults.sh
  step_beside "Alerts and dashboard, by a Prometheus" scripts/test-monitoring.sh
  step_beside "A database of one's own, as docs/adopting.md says" scripts/test-adopting.sh
  step_beside "The Debian package, installed, run and removed" scripts/test-package.sh
  steps_await
}

clean_up() {
  trap '' INT TERM HUP
  steps_abandon
  ! $SERVERS_STARTED || servers_end
  [[ -z ${CONTAINERS_DIR:-} ]] || rm -rf "$CONTAINERS_DIR"
}

main() {
  local begun_ms
  begun_ms=$(now_ms)
  parse_arguments "$@"
  cd "$ROOT"
  layer_load native
  test_servers_load test "${TEST_PORT_OFFSET:-400}" 200
  run_dir_lock
  step "Tools" check_tools
  $ONLY_RUST || quick_checks
  SERVERS_STARTED=false
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  step "Build" build
  $ONLY_RUST || containers_begin
  step "Build, with kill points" build_kill_points
  step "Build the last landed version" build_older_services
  if ! $ONLY_RUST; then
    step "Clippy" cargo clippy --workspace --all-targets --locked --release -- --deny warnings
    step "Build the tests" cargo test "${TEST_BUILD[@]}" --no-run
  fi
  SERVERS_STARTED=true
  step "Servers for the tests" test_servers_start
  # The stories mostly wait.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
  if $ONLY_RUST; then
    step "Rust tests" cargo test "${TEST_BUILD[@]}" "${CARGO_TEST_ARGUMENTS[@]}"
  elif ! suites_run; then
    heading "Failed, after $(seconds_since "$begun_ms") s"
    printf '  %s\n' "${STEPS_FAILED[@]}"
    die "The output of each is above, after its name. One story by itself: ./test-replication.sh -- -p tests --test stories -- NAME"
  fi
  [[ -n ${TEST_OLDER_SERVICES_DIR:-} ]] || warn "Left out: the stories of a rolling upgrade (upgrade::rolling), as is said above."
  heading "${GREEN}All is well${PLAIN}, after $(seconds_since "$begun_ms") s."
}

main "$@"
