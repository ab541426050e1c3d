#!/usr/bin/env bash
# Usage: scripts/test-mutations.sh [NAME…]
#        scripts/test-mutations.sh --check
#
# Proves that the tests notice when a protection is gone. Each file in tests/mutations takes one out: in a copy
# of the tree (in .run/mutations) it is applied, built, and the test that it names must fail; all of these tests must
# pass in the unchanged copy first. By hand: a mutation takes a minute.
#
#   NAME…     only these (default: all)
#   --check   only check that each still fits: its old text occurs exactly once, and its test is there
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"

readonly COPY=$ROOT/.run/mutations
export CARGO_TARGET_DIR=$ROOT/target/mutations

# Sets FOLDER, TEST, OLD and NEW from tests/mutations/NAME: parts that begin with a line "== what", the first two of
# one line each. Files and tests may move: a mutation names the folder whose only text OLD is, and the function of a test.
mutation_load() {
  local line part=''
  FOLDER='' TEST='' OLD='' NEW=''
  [[ -f $ROOT/tests/mutations/$1 ]] || die_usage "There is no mutation '$1' in tests/mutations."
  while IFS= read -r line; do
    case $line in
      '== why' | '== old' | '== new') part=${line#== } ;;
      '== in '*) FOLDER=${line#== in } ;;
      '== test '*) TEST=${line#== test } ;;
      *)
        [[ $part != old ]] || OLD+=$line$'\n'
        [[ $part != new ]] || NEW+=$line$'\n'
        ;;
    esac
  done <"$ROOT/tests/mutations/$1"
  [[ -d $ROOT/${FOLDER:-none} && -n $TEST && -n $OLD ]] || die "tests/mutations/$1 names no folder, no test or no old text."
}

# Sets FILE to the one below FOLDER that has the old text, and MUTATED to its text with the mutation applied.
mutation_apply() {
  local file text rest
  FILE='' MUTATED=''
  while IFS= read -r file; do
    text=$(<"$ROOT/$file")$'\n'
    rest=${text#*"$OLD"}
    [[ $rest != "$text" ]] || continue
    [[ -z $FILE && ${rest#*"$OLD"} == "$rest" ]] || die "Mutation $1: its old text occurs more than once in $FOLDER."
    FILE=$file MUTATED=${text%%"$OLD"*}$NEW$rest
  done < <(cd "$ROOT" && grep --recursive --files-with-matches --fixed-strings --regexp="${OLD%%$'\n'*}" "$FOLDER")
  [[ -n $FILE ]] || die "Mutation $1: its old text is not in $FOLDER. Bring it up to date."
}

mutation_check() {
  local found
  mutation_load "$1"
  mutation_apply "$1"
  found=$(grep --recursive --no-filename "^fn $TEST()" "$ROOT/tests/stories" | wc --lines)
  ((found == 1)) || die "Mutation $1: there are $found tests $TEST."
}

# What is built once per mutation is built quickly: what it does is what counts.
copy_make() {
  local crate
  mkdir -p "$COPY/.cargo"
  (cd "$ROOT" && git ls-files --cached --others --exclude-standard -z | xargs --null cp --parents --target-directory="$COPY")
  for crate in shared outbox-publisher inbox-processor tests; do
    printf '[profile.release.package.%s]\nopt-level = 0\ndebug = 0\n' "$crate"
  done >"$COPY/.cargo/config.toml"
}

# Runs these tests in the copy; true if they pass. Their output is in LOG.
tests_pass() {
  "$COPY/test-replication.sh" --keep -- --package tests --test stories -- "$@" >"$LOG" 2>&1
}

# unchanged_copy_passes NAME…
unchanged_copy_passes() {
  local name tests=()
  LOG=$ROOT/.run/mutations-none.log
  for name in "$@"; do
    mutation_load "$name"
    tests+=("$TEST")
  done
  tests_pass "${tests[@]}" || die "Without any mutation, not all of these tests pass: $LOG"
}

mutation_prove() {
  local name=$1
  mutation_check "$name"
  LOG=$ROOT/.run/mutations-$name.log
  printf '%s' "$MUTATED" >"$COPY/$FILE"
  (cd "$COPY" && cargo build --release --locked --workspace >"$LOG" 2>&1) || die "Mutation $name does not build: $LOG"
  if tests_pass "$TEST"; then
    error "Mutation $name: $TEST did not notice it ($LOG)."
    UNNOTICED+=("$name")
  elif grep --quiet '^test result: FAILED. 0 passed; 1 failed' "$LOG"; then
    say "$name: ${GREEN}noticed${PLAIN} by $TEST: $(grep --max-count=1 --after-context=1 '^thread .* panicked at' "$LOG" | tail -n 1)"
  else
    die "Mutation $name: the test could not run: $LOG"
  fi
  cp "$ROOT/$FILE" "$COPY/$FILE"
}

end_servers() { RUN_DIR=$COPY/.run/test "$COPY/stop-replication.sh" --purge >/dev/null || true; }

main() {
  local names=() check=false name
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    --check) check=true && shift ;;
    -*) die_usage "There is no option '$1'." ;;
  esac
  names=("$@")
  [[ $# -gt 0 ]] || mapfile -t names < <(ls "$ROOT/tests/mutations")
  for name in "${names[@]}"; do mutation_check "$name"; done
  ! $check || { say "${#names[@]} mutations fit." && exit; }
  UNNOTICED=()
  trap end_servers EXIT
  copy_make
  unchanged_copy_passes "${names[@]}"
  for name in "${names[@]}"; do mutation_prove "$name"; done
  [[ ${#UNNOTICED[@]} -eq 0 ]] || die "Not noticed: ${UNNOTICED[*]}. A test is missing."
  say "All ${#names[@]} mutations were noticed."
}

main "$@"
