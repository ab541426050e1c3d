# shellcheck shell=bash
# Starts components and waits until they are healthy. Nothing that runs is stopped because something is not healthy: what
# corrects it may be SQL in a server that runs. Only what exited right after its start is cleaned up, so that nothing
# restarts it in a loop; and an interrupted start stops what it has started.

source "$ROOT/scripts/wait.sh"

# The exit status of a start that leaves everything running, although something is not healthy.
readonly RUNS_UNHEALTHY=3

# components_start COMPONENT…: 0 if all are healthy; 1 if some exited; RUNS_UNHEALTHY if all run and some are not healthy.
# Lists the components that exited in FAILED, and the reasons of those that are not healthy in UNHEALTHY.
components_start() {
  local status=0
  STARTED=()
  trap 'interrupted_start_undo; exit 130' INT TERM HUP
  components_start_in_order "$@" || status=$?
  trap - INT TERM HUP
  return "$status"
}

interrupted_start_undo() {
  local component
  trap '' INT TERM HUP
  [[ ${#STARTED[@]} -gt 0 ]] || return 0
  heading "Interrupted; stopping what this run started"
  reverse "${STARTED[@]}"
  for component in "${REVERSED[@]}"; do
    component_stop "$component"
    stopped_on_purpose_mark "$component"
    progress "$component" stopped
  done
}

components_start_in_order() {
  declare -gA UNHEALTHY=()
  FAILED=()
  kind_start postgres "Starting PostgreSQL" "$@"
  [[ ${#FAILED[@]} -gt 0 ]] || kind_start nats "Starting NATS" "$@"
  [[ ${#FAILED[@]} -gt 0 ]] || wait_until_zones_ready "$@" || true
  [[ ${#FAILED[@]} -gt 0 ]] || databases_prepare "$@"
  [[ ${#FAILED[@]} -gt 0 ]] || kind_start service "Starting the services" "$@"
  [[ ${#FAILED[@]} -gt 0 ]] || kind_start monitoring "Starting the monitoring" "$@"
  [[ ${#FAILED[@]} -eq 0 ]] || return 1
  [[ ${#UNHEALTHY[@]} -eq 0 ]] || return "$RUNS_UNHEALTHY"
}

# kind_start KIND HEADING COMPONENT…: those of one kind, side by side.
kind_start() {
  local kind=$1 title=$2 component begun_ms status chosen=()
  shift 2
  for component in "$@"; do
    [[ $(component_kind "$component") != "$kind" ]] || chosen+=("$component")
  done
  [[ ${#chosen[@]} -gt 0 ]] || return 0
  heading "$title"
  begun_ms=$(now_ms)
  for component in "${chosen[@]}"; do
    component_is_up "$component" || component_begin "$component"
  done
  for component in "${chosen[@]}"; do
    [[ " ${FAILED[*]} " != *" $component "* ]] || continue
    status=0
    wait_until_healthy "$component" "$begun_ms" || status=$?
    case $status in
      0) ;;
      "$RUNS_UNHEALTHY") UNHEALTHY[$component]=$REASON ;;
      *) component_give_up "$component" ;;
    esac
  done
}

component_begin() {
  STARTED+=("$1")
  # In a subshell: whatever ends it ends this component's start only.
  (component_start "$1") || component_give_up "$1"
}

component_give_up() {
  FAILED+=("$1")
  [[ " ${STARTED[*]} " == *" $1 "* ]] || return 0 # it ran before, and is restarted as ever
  component_stop "$1"
  start_failure_mark "$1"
}

# Makes the databases ready of those services that this start begins. One that runs has all it needs.
databases_prepare() {
  local component database begun_ms answer prepared=''
  for component in "$@"; do
    [[ $(component_kind "$component") == service ]] || continue
    ! component_is_up "$component" || continue
    database=postgres-$(service_zone "$component")
    [[ $prepared != *" $database "* ]] || continue
    [[ -n $prepared ]] || heading "Preparing the databases"
    prepared+=" $database "
    begun_ms=$(now_ms)
    if answer=$(database_prepare "$database"); then
      progress "$database" "${GREEN}ready${PLAIN} after $(seconds_since "$begun_ms") s: tables, schema, the services' roles"
    else
      answer=$(grep ERROR <<<"$answer" | tail -n 1 | sed 's/.*ERROR *[a-z_:]*: //')
      UNHEALTHY[$database]="it is not ready for the services: ${answer:-"not within $PREPARE_DEADLINE_S s"}"
      progress "$database" "$YELLOW${UNHEALTHY[$database]}$PLAIN"
    fi
  done
}

# What a start that did not go well prints last.
start_problems_print() {
  local name
  if [[ ${#UNHEALTHY[@]} -gt 0 ]]; then
    heading "Not healthy"
    for name in "${!UNHEALTHY[@]}"; do progress "$name" "$YELLOW${UNHEALTHY[$name]}$PLAIN"; done
  fi
  if [[ ${#FAILED[@]} -gt 0 ]]; then
    error "The start failed: ${FAILED[*]} exited. Correct the error above, then run this again. What runs keeps running; to stop it: ./stop-replication.sh"
  else
    error "Not everything is healthy. All is left running: correct what the lines above name, and it becomes healthy by itself. What to do: ./check-replication.sh"
  fi
}
