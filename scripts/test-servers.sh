# shellcheck shell=bash
# The PostgreSQL and NATS servers that Rust tests run against: where the tests find them, and their end. Needs
# settings.sh, components.sh, ports.sh and start.sh.

source "$ROOT/scripts/servers.sh"

readonly SERVERS=("${POSTGRES_COMPONENTS[@]}" "${NATS_COMPONENTS[@]}")

# test_servers_load NAME PORT_OFFSET CONNECTIONS_MAX: the settings of servers in .run/NAME, for here and for the
# tests. Nothing of a demo that runs beside them is touched.
test_servers_load() {
  export RUN_DIR=$ROOT/.run/$1 ENV_FILE=/dev/null POSTGRES_MAX_CONNECTIONS=$3
  readonly KEPT_LOGS=$RUN_DIR-logs
  settings_move_ports "$2"
  settings_load
  export TEST_SOURCE_URL=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_A_PORT/postgres
  export TEST_TARGET_URL=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_B_PORT/postgres
  TEST_NATS_A=$(service_nats_urls a)
  TEST_NATS_B=$(service_nats_urls b)
  # shellcheck disable=SC2031 # the one changed in nats_start's subshell is not meant
  export TEST_NATS_A TEST_NATS_B TEST_NATS_PASSWORD=$NATS_PASSWORD TEST_NATS_OPERATOR_PASSWORD=$NATS_ADMIN_PASSWORD
  TEST_BIN_DIR=$(dirname "$(service_binary any)")
  export TEST_BIN_DIR TEST_RUN_DIR=$RUN_DIR TEST_KILL_POINTS_DIR=${TEST_BIN_DIR%/*}/kill-points
  # What the stories upgrade their own servers to.
  UPGRADED_SERVER=${UPGRADED_SERVER:-$(compose_server postgres)}
  TEST_UPGRADED_POSTGRES_BIN=$(server_bin "$UPGRADED_SERVER")
  export TEST_UPGRADED_POSTGRES_BIN
  export RUST_TEST_NOCAPTURE=1 # the stories say what they saw
}

# test_servers_start: with the programs of A first in the path: a story dumps and restores a source with them.
test_servers_start() {
  local component
  # shellcheck disable=SC2034 # start.sh adds to it
  STARTED=()
  servers_install "$UPGRADED_SERVER"
  ports_check "${SERVERS[@]}"
  PATH=$(postgres_bin postgres-a):$PATH
  components_start_in_order "${SERVERS[@]}"
  for component in "${POSTGRES_COMPONENTS[@]}"; do test_server_hurry "$component"; done
}

# No story cuts the power of these, and their hundreds of databases are gone before a vacuum pays: what a server does for
# either is time that the stories have.
test_server_hurry() {
  component_psql "$1" --quiet --set=ON_ERROR_STOP=1 --output=/dev/null \
    --command='alter system set fsync = off' --command='alter system set autovacuum_naptime = 600' --command='select pg_reload_conf()'
}

# Those that a story started for itself (scripts/test-postgres.sh), where the story was ended before it removed them.
private_servers_remove() {
  local directory name
  for directory in "$RUN_DIR"/private-*/; do
    [[ -d $directory ]] || continue
    name=$(basename "$directory")
    TEST_RUN_DIR=$RUN_DIR "$ROOT/scripts/test-postgres.sh" remove "${name#private-}" 1
  done
}

# Stops the servers and deletes all that is theirs, but for the logs.
test_servers_end() {
  local component
  private_servers_remove
  reverse "${SERVERS[@]}"
  for component in "${REVERSED[@]}"; do component_stop "$component"; done
  rm -rf "$KEPT_LOGS"
  [[ ! -d $RUN_DIR/log ]] || mv "$RUN_DIR/log" "$KEPT_LOGS"
  for component in "${REVERSED[@]}"; do component_purge "$component"; done
  run_dir_tidy
  say "The logs: $KEPT_LOGS"
}
