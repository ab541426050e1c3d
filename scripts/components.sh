# shellcheck shell=bash
# The components: their names, their order, what a command line may call them, and which layer runs
# them. Each layer (scripts/native.sh for plain processes, scripts/docker.sh for containers) defines
# the same functions, and nothing outside the layers asks which of them is loaded:
#
#   layer_require                 ends the script with what to do if the layer is not available
#   layer_prepare COMPONENT…      everything before the first start: install, build, pull
#   layer_watch                   starts the watcher, which restarts components that died
#   layer_unwatch                 stops the watcher
#   layer_watch_problem           true if the watcher runs where it should; otherwise prints the problem
#   layer_log_hint COMPONENT      where its log is, for people
#   monitoring_offered            prints the components of the monitoring that the layer can run
#   component_ports COMPONENT     the names of the variables of the ports that it uses on this machine
#   component_start COMPONENT     starts it, without waiting for it to be healthy
#   component_stop COMPONENT      stops it cleanly; fine if it does not run
#   component_healthy COMPONENT   true if it is healthy; otherwise prints why not, in one line
#   component_state COMPONENT     prints "STATE SINCE RESTARTS DEATHS": up, died, failed (it exited right after
#                                 its start), stopped (on purpose) or absent (never started); since when it
#                                 is up (epoch seconds, or -);
#                                 restarts since it was last started by hand; how often in a row it died
#                                 soon after a start
#   component_has_log COMPONENT   whether it has ever logged
#   component_logs COMPONENT LINES [follow]
#   database_prepare COMPONENT    makes a database ready for the services: tables, schema, roles, rights; otherwise prints
#                                 why not. As its administrator, which no service is
#   component_psql COMPONENT ARG… psql in its database `transactions`, for PSQL_DEADLINE_S seconds at most (60)
#   component_disk_free COMPONENT prints how many bytes the disk under its data has free; nothing where
#                                 that cannot be known
#   component_purge COMPONENT     removes its data and everything noted about it

source "$ROOT/scripts/docker/engine.sh"
source "$ROOT/scripts/tls.sh"

# In the order in which they start; they stop in the opposite order.
readonly POSTGRES_COMPONENTS=(postgres-a postgres-b)
readonly NATS_COMPONENTS=(nats-a-1 nats-a-2 nats-a-3 nats-b-1 nats-b-2 nats-b-3)
readonly SERVICE_COMPONENTS=(inbox-processor outbox-publisher data-generator)
readonly ALL_COMPONENTS=("${POSTGRES_COMPONENTS[@]}" "${NATS_COMPONENTS[@]}" "${SERVICE_COMPONENTS[@]}")
# Only where somebody wants them: start-replication.sh --monitoring.
readonly MONITORING_COMPONENTS=(monitoring-prometheus monitoring-grafana)
readonly KNOWN_COMPONENTS=("${ALL_COMPONENTS[@]}" "${MONITORING_COMPONENTS[@]}")

component_kind() {
  case $1 in
    postgres-*) printf postgres ;;
    nats-*) printf nats ;;
    monitoring-*) printf monitoring ;;
    *) printf service ;;
  esac
}

# The zone of a service, and the role that it logs in as (generator/src/prepare.rs makes them).
service_zone() { if [[ $1 == inbox-processor ]]; then printf b; else printf a; fi; }
service_role() {
  case $1 in
    inbox-processor) printf replication_processor ;;
    outbox-publisher) printf replication_publisher ;;
    *) printf data_generator ;;
  esac
}

# To change a schema may take as long as the transactions of others do.
readonly PREPARE_DEADLINE_S=300

component_is_known() {
  local known
  for known in "${KNOWN_COMPONENTS[@]}"; do [[ $known == "$1" ]] && return 0; done
  return 1
}

require_known_component() {
  component_is_known "$1" \
    || die_usage "There is no component '$1'. Components: ${KNOWN_COMPONENTS[*]}."
}

# Sets COMPONENTS to those named, in starting order and once each; to all but the monitoring if none is named.
components_choose() {
  local component
  COMPONENTS=()
  for component in "$@"; do require_known_component "$component"; done
  [[ $# -gt 0 ]] || set -- "${ALL_COMPONENTS[@]}"
  for component in "${KNOWN_COMPONENTS[@]}"; do
    [[ " $* " != *" $component "* ]] || COMPONENTS+=("$component")
  done
}

# Those of the monitoring that were ever started, and not purged since.
monitoring_in_use() {
  local component state
  for component in "${MONITORING_COMPONENTS[@]}"; do
    read -r state _ < <(component_state "$component")
    [[ $state == absent ]] || printf '%s\n' "$component"
  done
}

# Sets REVERSED to its arguments, last first.
reverse() {
  local item
  REVERSED=()
  for item in "$@"; do REVERSED=("$item" "${REVERSED[@]}"); done
}

component_is_up() {
  local state
  read -r state _ < <(component_state "$1")
  [[ $state == up ]]
}

# nats-a-1 -> NATS_A_1
component_variable() {
  local name=${1^^}
  printf '%s' "${name//-/_}"
}

# The value of one of a component's port variables: component_port nats-a-1 MONITOR_PORT
component_port() {
  local variable
  variable=$(component_variable "$1")_$2
  printf '%s' "${!variable}"
}

# An HTTP page of a NATS node's monitoring port.
nats_page() {
  curl --silent --show-error --fail --max-time 3 \
    "http://127.0.0.1:$(component_port "$1" MONITOR_PORT)$2" 2>&1
}

# The state of a zone. (Not by `| grep --quiet`, which ends at the first match: the writer may then die of SIGPIPE,
# and with pipefail the answer is "no".)
nats_has_leader() { nats_page_matches "$1" /jsz '"meta_cluster":[{][^}]*"leader":"[^"]'; }
nats_has_gateway() { nats_page_matches "$1" /gatewayz '"outbound_gateways":[{]"'; }

# Whether a page, without its spaces, has the regular expression.
nats_page_matches() {
  local page
  page=$(nats_page "$1" "$2") && [[ ${page//[[:space:]]/} =~ $3 ]]
}

# Why a component does not run is remembered, so that check-replication.sh can tell a stop on purpose from a crash, and
# both from a start that failed.
stopped_on_purpose_mark() {
  stop_reason_forget "$1"
  : >"$RUN_DIR/$1.stopped"
}
start_failure_mark() {
  stop_reason_forget "$1"
  : >"$RUN_DIR/$1.failed"
}
stop_reason_forget() { rm -f "$RUN_DIR/$1".{stopped,failed}; }

# Prints the state of a component that does not run, and did not die: failed, stopped or absent.
stop_reason() {
  if [[ -e $RUN_DIR/$1.failed ]]; then
    printf failed
  elif [[ -e $RUN_DIR/$1.stopped ]]; then
    printf stopped
  else
    printf absent
  fi
}

# One start, stop or restart at a time. The lock ends with the script; components do not inherit it.
run_dir_lock() {
  local begun_s=$SECONDS
  until run_dir_lock_take; do
    ((SECONDS - begun_s < 25)) || die "Another start, stop or test is running in $RUN_DIR. Wait until it has finished."
  done
}

# False if another script has the lock, or had it and deleted the file (run_dir_tidy).
run_dir_lock_take() {
  { mkdir -p "$RUN_DIR" && exec {RUN_DIR_LOCK}>"$RUN_DIR/lock"; } 2>/dev/null \
    || die "$RUN_DIR/lock cannot be written. Run this as the user who started the components (not as $(user_name)), and with space left on that disk."
  # Others may pass, as user postgres must, and see nothing. A directory that many share stays as it is.
  [[ ! -O $RUN_DIR || -k $RUN_DIR ]] || chmod go=x "$RUN_DIR"
  if ! flock --nonblock "$RUN_DIR_LOCK"; then
    say "Waiting for another start, stop or restart to finish"
    flock --timeout 25 "$RUN_DIR_LOCK" || return 1
  fi
  [[ /proc/self/fd/$RUN_DIR_LOCK -ef $RUN_DIR/lock ]] && return
  exec {RUN_DIR_LOCK}>&-
  return 1
}

# Prints the first of what the scripts read in RUN_DIR that this user may not read, if there is any. To such a user
# everything would seem never started, and without errors.
run_dir_closed() {
  local directory=$RUN_DIR
  until [[ -e $directory ]]; do directory=$(dirname "$directory"); done
  if [[ ! -x $directory || ! -r $directory ]]; then
    printf '%s' "$directory"
  elif [[ $directory == "$RUN_DIR" ]]; then
    find "$RUN_DIR" -mindepth 1 \( -name data -o -name 'private-*' -o -name lock -o -name servers \) -prune \
      -o \( -not -readable -o -type d -not -executable \) -print -quit 2>/dev/null || true
  fi
}

run_dir_require_readable() {
  local closed
  closed=$(run_dir_closed)
  [[ -z $closed ]] || die "$closed cannot be read by $(user_name), so nothing is known. Run this as the user who started the components."
}

# The layer in use is stored in RUN_DIR/mode, for later scripts.
layer_recorded() {
  if [[ -f $RUN_DIR/mode ]]; then cat "$RUN_DIR/mode"; else printf native; fi
}

# The layer to inspect: without RUN_DIR/mode, containers that were started with Compose by hand.
layer_found() {
  if [[ ! -f $RUN_DIR/mode ]] && project_has_containers; then printf docker; else layer_recorded; fi
}

layer_load() {
  layer_source "$1"
  layer_require
}

layer_source() {
  case $1 in
    native) source "$ROOT/scripts/native.sh" ;;
    docker) source "$ROOT/scripts/docker.sh" ;;
    *) die "$RUN_DIR/mode contains '$1'; allowed are native and docker. Correct or remove the file." ;;
  esac
}

# After a purge: removes RUN_DIR once the last component is gone.
run_dir_tidy() {
  local component state
  for component in "${KNOWN_COMPONENTS[@]}"; do
    read -r state _ < <(component_state "$component")
    [[ $state == absent ]] || return 0
  done
  rm -f "$RUN_DIR"/log/watcher.log{,.1}
  rmdir --ignore-fail-on-non-empty "$RUN_DIR"/{log,data} 2>/dev/null || true
  [[ ! -d $RUN_DIR/data && ! -d $RUN_DIR/log ]] || return 0
  rm -rf "$RUN_DIR/secrets"
  rm -f "$RUN_DIR"/{mode,lock}
  rmdir --ignore-fail-on-non-empty "$RUN_DIR"
}
