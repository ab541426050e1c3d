#!/usr/bin/env bash
# Usage: scripts/test-matrix.sh [--only COMBINATION…] [--] [TEST…]
#
# What takes too long for every run: all stories on each combination of versions, databases of every version of the
# schema (scripts/test-schema-versions.sh --help), and PostgreSQL's own regression files, with every table attached that
# can be (scripts/test-regress.sh --help). In between a table of what passed.
#
#   --only   some of these combinations, by the versions of A and B: 15-15, 17-17, 18-18, 15-18, 18-15; or schema or regression
#   TEST     only stories whose names contain one of these
#
# The output of each is in .run/matrix/. ./test-replication.sh --matrix runs it. TEST_PORT_OFFSET moves its ports.
# Exit status: 0 all is well; 1 something failed, as the table says; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"
source "$ROOT/scripts/test-servers.sh"
source "$ROOT/scripts/test-steps.sh"
source "$ROOT/scripts/test-prepare.sh"
source "$ROOT/scripts/unoptimized.sh"

# NAME SOURCE TARGET NATS; nats-2 is the newest. README.md says that these are run.
readonly COMBINATIONS=(
  "15-15 postgres-15 postgres-15 nats-2"
  "17-17 postgres-17 postgres-17 nats-2.12"
  "18-18 postgres-18 postgres-18 nats-2"
  "15-18 postgres-15 postgres-18 nats-2"
  "18-15 postgres-18 postgres-15 nats-2"
)
readonly REGRESSION=regression SCHEMA=schema OUTPUTS=$ROOT/.run/matrix

parse_arguments() {
  ONLY=() TESTS=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --only)
        [[ ${2:-} =~ ^([0-9]+-[0-9]+|$REGRESSION|$SCHEMA)$ ]] || die_usage "--only takes a combination, as in 17-17, or $REGRESSION or $SCHEMA."
        ONLY+=("$2")
        shift
        ;;
      --) ;;
      -*) die_usage "There is no option '$1'." ;;
      *) TESTS+=("$1") ;;
    esac
    shift
  done
}

is_wanted() { [[ ${#ONLY[@]} -eq 0 || " ${ONLY[*]} " == *" $1 "* ]]; }

# As test-replication.sh does.
prepare() {
  export ENV_FILE=/dev/null
  layer_load native
  settings_load
  TEST_BIN_DIR=$(dirname "$(service_binary any)")
  export TEST_BIN_DIR TEST_KILL_POINTS_DIR=${TEST_BIN_DIR%/*}/kill-points
  step "Tools" check_tools
  step "Build" build
  step "Build, with kill points" build_kill_points
  step "Build the last landed version" build_older_services
  step "Build the tests" cargo test "${TEST_BUILD[@]}" --no-run
  mkdir -p "$OUTPUTS"
}

# combination_run NAME SOURCE TARGET NATS: adds a line to the table.
combination_run() {
  local name=$1 source=$2 target=$3 nats=$4 output=$OUTPUTS/$1.log begun_ms verdict=passed
  begun_ms=$(now_ms)
  heading "$name: $source -> $target, $nats"
  # Of all stories, those that passed are counted; the output is long.
  "$ROOT/scripts/test-versions.sh" --all --source "$source" --target "$target" --nats "$nats" "${TESTS[@]}" >"$output" 2>&1 \
    || verdict=FAILED ALL_PASSED=false
  say "$verdict, after $(seconds_since "$begun_ms") s; its output: ${output#"$ROOT/"}"
  sed --quiet --regexp-extended 's/^test (\S+) .*FAILED$/  failed: \1/p' "$output" | sort --unique
  TABLE+=("$(printf '%-8s %-10s %-10s %-10s %7s %7s %8s %9s' "$verdict" "$(server_version "$source")" "$(server_version "$target")" \
    "$(server_version "$nats")" "$(stories_of "$output" passed)" "$(stories_of "$output" failed)" \
    "$(grep --count '^skipped: ' "$output" || true)" "$(seconds_since "$begun_ms")")")
}

# stories_of OUTPUT passed|failed
stories_of() {
  sed --quiet --regexp-extended "s/^test result: .* ([0-9]+) $2;.*/\1/p" "$1" | tail -n 1
}

table_print() {
  heading "What ran"
  printf '  %-8s %-10s %-10s %-10s %7s %7s %8s %9s\n' "" "A" "B" "NATS" passed failed skipped seconds
  printf '  %s\n' "${TABLE[@]}"
  [[ ${#TESTS[@]} -eq 0 ]] || say "Only stories whose names contain: ${TESTS[*]}"
}

main() {
  local begun_ms combination words
  parse_arguments "$@"
  begun_ms=$(now_ms)
  cd "$ROOT"
  TABLE=() ALL_PASSED=true
  prepare
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
  for combination in "${COMBINATIONS[@]}"; do
    read -r -a words <<<"$combination"
    ! is_wanted "${words[0]}" || combination_run "${words[@]}"
  done
  [[ ${#TABLE[@]} -eq 0 ]] || table_print
  ! is_wanted "$SCHEMA" || step "Databases of every version of the schema" "$ROOT/scripts/test-schema-versions.sh"
  ! is_wanted "$REGRESSION" || step "PostgreSQL's own regression files, under capture" "$ROOT/scripts/test-regress.sh"
  $ALL_PASSED || die "Not every combination passed; the table is above. One of them by itself: scripts/test-matrix.sh --only 17-17 -- TEST"
  heading "${GREEN}All is well${PLAIN}, after $(seconds_since "$begun_ms") s."
}

main "$@"
