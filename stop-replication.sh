#!/usr/bin/env bash
# Usage: ./stop-replication.sh [--purge] [COMPONENT…]
#
# Stops the components cleanly: the services first, then NATS, then PostgreSQL. Without --purge all
# data is kept, and ./start-replication.sh resumes from it.
#
#   COMPONENT   stop only these: postgres-a postgres-b nats-a-1 nats-a-2 nats-a-3 nats-b-1 nats-b-2
#               nats-b-3 data-generator outbox-publisher inbox-processor
#   --purge     delete their data and logs as well
#
# Exit status: 0 stopped; 1 failed; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"

parse_arguments() {
  local names=()
  PURGE=false
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --purge) PURGE=true ;;
      -*) die_usage "There is no option '$1'." ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  components_choose "${names[@]}"
  ALL_OF_THEM=$([[ ${#names[@]} -gt 0 ]] || printf true)
}

stop_one() {
  local component=$1 begun_ms
  if component_is_up "$component"; then
    begun_ms=$(now_ms)
    component_stop "$component"
    progress "$component" "stopped after $(seconds_since "$begun_ms") s"
  else
    component_stop "$component" # cleans up after a crash
    progress "$component" "not running"
  fi
  stopped_on_purpose_mark "$component"
}

anything_is_left() {
  local component state
  for component in "${KNOWN_COMPONENTS[@]}"; do
    read -r state _ < <(component_state "$component")
    [[ $state != up && $state != died ]] || return 0
  done
  return 1
}

refuse_what_was_started_by_hand() {
  [[ ! -f $RUN_DIR/mode ]] && project_has_containers || return 0
  die "These containers were started with Compose by hand. Stop them with: docker compose stop (down --volumes also deletes the data). Or let the scripts manage them: ./start-replication.sh --docker"
}

main() {
  local component
  parse_arguments "$@"
  settings_load
  refuse_what_was_started_by_hand
  run_dir_lock
  layer_load "$(layer_recorded)"
  [[ -z $ALL_OF_THEM ]] || mapfile -t -O "${#COMPONENTS[@]}" COMPONENTS < <(monitoring_in_use)
  heading "Stopping"
  reverse "${COMPONENTS[@]}"
  for component in "${REVERSED[@]}"; do stop_one "$component"; done
  anything_is_left || layer_unwatch
  if $PURGE; then
    for component in "${REVERSED[@]}"; do component_purge "$component"; done
    run_dir_tidy
    say "Data and logs are deleted."
  else
    say "Data is kept. Start again: ./start-replication.sh   Delete it: ./stop-replication.sh --purge"
  fi
}

main "$@"
