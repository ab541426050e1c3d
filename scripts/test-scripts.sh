#!/usr/bin/env bash
# Usage: scripts/test-scripts.sh
#
# Tests what the scripts say when they are used wrongly, and that settings are documented. Starts no
# component; a step of test-replication.sh.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"

readonly SCRIPTS=(start-replication.sh stop-replication.sh logs.sh check-replication.sh test-replication.sh)

# expect STATUS TEXT COMMAND…: the command ends with the status and prints the text.
expect() {
  local status=$1 text=$2 output actual=0
  shift 2
  output=$("$@" </dev/null 2>&1) || actual=$?
  [[ $actual == "$status" && $output == *"$text"* ]] \
    || die "expected status $status and \"$text\" of: $*"$'\n'"got status $actual and:"$'\n'"$output"
}

test_usage() {
  local script
  for script in "${SCRIPTS[@]}"; do
    expect 0 "Usage: ./$script" "$ROOT/$script" --help
    expect 2 "There is no option" "$ROOT/$script" --frobnicate
  done
  expect 2 "There is no component 'nats-c-1'" "$ROOT/start-replication.sh" nats-c-1
  expect 2 "There is no component 'nats-c-1'" "$ROOT/stop-replication.sh" nats-c-1
  expect 2 "There is no component 'nats-c-1'" "$ROOT/logs.sh" nats-c-1
  expect 2 "exclude each other" "$ROOT/start-replication.sh" --native --docker
}

test_bad_settings() {
  expect 1 "POSTGRES_A_PORT is 'many'" env POSTGRES_A_PORT=many "$ROOT/start-replication.sh" --native postgres-a
  expect 1 "may hold letters" env POSTGRES_PASSWORD='a b' "$ROOT/start-replication.sh" --native postgres-a
}

# A listener of our own on a port that a start wants.
test_taken_port() {
  local port
  coproc LISTENER { exec perl -MIO::Socket::INET -e '
    $| = 1;
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
    print $socket->sockport, "\n";
    sleep 30;'; }
  read -r port <&"${LISTENER[0]}"
  expect 1 "Port $port, for postgres-a, is taken by perl (pid $LISTENER_PID). POSTGRES_A_PORT moves ours." \
    env POSTGRES_A_PORT="$port" "$ROOT/start-replication.sh" --native postgres-a postgres-b
  kill "$LISTENER_PID"
  [[ -z $(compgen -G "$RUN_DIR/*.pid") ]] || die "a start that was refused left something running"
}

# Every setting of the scripts with the same default, and every variable that a service reads.
test_settings_are_documented() {
  local setting name
  for setting in "${SETTINGS[@]}"; do
    grep --quiet --line-regexp --fixed-strings "$setting" "$ROOT/.env.example" \
      || die ".env.example does not have the line $setting"
  done
  while read -r name; do
    grep --quiet --extended-regexp "^(# )?$name=" "$ROOT/.env.example" \
      || die ".env.example does not have $name, which a service reads"
  done < <(grep --recursive --no-filename --only-matching --perl-regexp \
    '(optional|required|count|seconds|nats_name)\("\K[A-Z_]+(?=")' \
    "$ROOT"/{shared,generator,publisher,processor}/src | sort --unique)
}

test_compose_file() {
  type -P docker-compose >/dev/null || {
    say "docker-compose is not installed: docker-compose.yml is not checked"
    return
  }
  docker-compose --project-directory "$ROOT" --file "$ROOT/docker-compose.yml" config --quiet
}

main() {
  export ENV_FILE=/dev/null
  RUN_DIR=$(mktemp --directory)
  export RUN_DIR
  trap 'rm -rf "$RUN_DIR"' EXIT
  test_usage
  test_bad_settings
  test_taken_port
  test_settings_are_documented
  test_compose_file
}

main "$@"
