# shellcheck shell=bash
# Starts components so that either all become healthy or everything started is stopped again.

source "$ROOT/scripts/wait.sh"

components_start_or_undo() {
  STARTED=()
  trap undo EXIT
  trap 'exit 130' INT TERM HUP
  components_start_in_order "$@" || die "The start failed. Fix the error above, then run this again."
  trap - EXIT INT TERM HUP
}

# Stops what this run started, and only that.
undo() {
  local component
  trap '' INT TERM HUP
  [[ ${#STARTED[@]} -gt 0 ]] || return 0
  heading "Stopping what this run started"
  reverse "${STARTED[@]}"
  for component in "${REVERSED[@]}"; do
    component_stop "$component"
    progress "$component" stopped
  done
}

components_start_in_order() {
  kind_start postgres "Starting PostgreSQL" "$@" \
    && kind_start nats "Starting NATS" "$@" \
    && wait_until_zones_ready "$@" \
    && kind_start service "Starting the services" "$@"
}

# kind_start KIND HEADING COMPONENT…: those of one kind, side by side.
kind_start() {
  local kind=$1 title=$2 component begun_ms chosen=()
  shift 2
  for component in "$@"; do
    [[ $(component_kind "$component") != "$kind" ]] || chosen+=("$component")
  done
  [[ ${#chosen[@]} -gt 0 ]] || return 0
  heading "$title"
  begun_ms=$(now_ms)
  for component in "${chosen[@]}"; do
    component_is_up "$component" && continue
    STARTED+=("$component")
    component_start "$component" || return 1
  done
  for component in "${chosen[@]}"; do
    wait_until_healthy "$component" "$begun_ms" && "${kind}_finish" "$component" || return 1
  done
}

# The demo's tables are not part of the replication: its services bring their own schema.
postgres_finish() {
  component_psql "$1" --quiet --set=ON_ERROR_STOP=1 --output=/dev/null \
    --command='set client_min_messages = warning' --file=- <"$ROOT/schema/demo/tables.sql" || {
    error "$1 rejected schema/demo/tables.sql; see its message above."
    return 1
  }
}

nats_finish() { :; }
service_finish() { :; }
