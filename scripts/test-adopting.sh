#!/usr/bin/env bash
# Usage: scripts/test-adopting.sh
#
# Runs the commands of docs/adopting.md as they stand, in their order, against servers of its own: what the
# document tells people to type works. In between, the check of these databases meets trouble. A step of test-replication.sh. TEST_PORT_OFFSET moves its ports.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/test-adopting/check.sh"

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
  export NATS_USER=replication REPLICATION_PASSWORD=secret
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

# document_commands [FROM TO]: of these sections only, by number.
document_commands() {
  awk -v from="${1:-0}" -v to="${2:-99}" '
    /^## [0-9]/ { section = $2 + 0 }
    /^```sh$/ { inside = section >= from && section <= to; next }
    /^```$/ { inside = 0 }
    inside' "$ROOT/docs/adopting.md"
}

# document_run FROM TO
document_run() {
  local directory=$RUN_DIR/reader
  mkdir -p "$directory"
  ln -sfn "$ROOT"/{examples,compare-replication.sh,check-replication.sh} "$directory/"
  (cd "$directory" && document_commands "$@" | timeout 300 bash -eu /dev/stdin) >"$directory/output" 2>&1 || {
    tail -n 40 "$directory/output" "$directory"/*.log >&2 || true
    die "a command of docs/adopting.md failed, or did not end within 300 s: its output is above."
  }
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
  document_run 1 6
  story_of_a_check_of_ones_own
  document_run 7 99
  say "docs/adopting.md: $(document_commands | grep --count .) lines of commands ran as they stand"
}

main "$@"
