#!/usr/bin/env bash
# Usage: scripts/native/watcher.sh
#
# Restarts components that died, until it is stopped itself. The first time at once, then after pauses
# that grow to a minute; a component that has lived for a minute has a clean record again.
# start-replication.sh starts it, with the settings of the components in its environment.
#
# Rotates logs as the containers' are rotated: a log of more than 10 MiB is copied to LOG.1 and emptied.
#
# It acts only under the lock of start- and stop-replication.sh, and so never against them. It logs what
# it does in the component's log.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"

readonly LOOK_INTERVAL_S=0.5
readonly PAUSE_MAX_S=60
readonly CLEAN_RECORD_S=60
readonly LOG_MAX_MIB=10
readonly LOGS_INTERVAL_S=10

NEXT_LOGS_S=0
declare -A NEXT_TRY_S=() # of those that died: when to start them again

# Starts no process for a component that is up: this runs for ever.
look_at() {
  local component=$1
  if process_load "$component"; then
    unset "NEXT_TRY_S[$component]"
    forgive "$component"
  elif [[ -e $RUN_DIR/$component.pid ]]; then
    [[ -n ${NEXT_TRY_S[$component]:-} ]] || note_death "$component"
    ((EPOCHSECONDS < NEXT_TRY_S[$component])) || start_again "$component"
  else
    unset "NEXT_TRY_S[$component]" # stopped on purpose
  fi
}

# Forgets the deaths of a component that has lived long enough since.
forgive() {
  local file=$RUN_DIR/$1.deaths
  [[ -e $file ]] || return 0
  ((EPOCHSECONDS - $(stat --format=%Y "$file") < CLEAN_RECORD_S)) || rm -f "$file"
}

note_death() {
  local component=$1 deaths pause_s=0
  deaths=$(($(deaths_of "$component") + 1))
  ((deaths == 1)) || pause_s=$((1 << (deaths < 10 ? deaths - 2 : 8)))
  ((pause_s <= PAUSE_MAX_S)) || pause_s=$PAUSE_MAX_S
  NEXT_TRY_S[$component]=$((EPOCHSECONDS + pause_s))
  deaths_note "$component" "$deaths"
  log_line "$component" "$component died; restarting it in $pause_s s (deaths in a row: $deaths)"
}

start_again() {
  local component=$1 deaths lock
  exec {lock}>"$RUN_DIR/lock"
  # While a start or stop runs, wait for the next round.
  if flock --nonblock "$lock" && [[ -e $RUN_DIR/$component.pid ]] && ! process_load "$component"; then
    deaths=$(deaths_of "$component")
    (component_start "$component") || log_line "$component" "$component could not be restarted"
    deaths_note "$component" "$deaths"
    unset "NEXT_TRY_S[$component]"
  fi
  exec {lock}>&-
}

# A component keeps writing to the end of the file that it has open. A line written between the copy and the cut is lost.
logs_rotate() {
  local log
  ((EPOCHSECONDS >= NEXT_LOGS_S)) || return 0
  NEXT_LOGS_S=$((EPOCHSECONDS + LOGS_INTERVAL_S))
  while IFS= read -r log; do
    if cp "$log" "$log.1"; then : >"$log"; fi
  done < <(find "$RUN_DIR/log" -maxdepth 1 -name '*.log' -size "+${LOG_MAX_MIB}M")
}

# In the format of the services, in their logs.
log_line() {
  local format='%(%Y-%m-%dT%H:%M:%S)T.000Z WARN  watcher: %s'
  case $(component_kind "$1")/${LOG_FORMAT:-text} in
    service/logfmt) format='ts=%(%Y-%m-%dT%H:%M:%S)T.000Z level=warn service=watcher thread=main msg="%s"' ;;
    service/json) format='{"ts":"%(%Y-%m-%dT%H:%M:%S)T.000Z","level":"warn","service":"watcher","thread":"main","msg":"%s"}' ;;
  esac
  # shellcheck disable=SC2059 # one of the three
  TZ=UTC printf "$format\n" -1 "$2" >>"$RUN_DIR/log/$1.log"
}

main() {
  local component
  case ${1:-} in
    '') ;;
    -h | --help) print_help "$0" && exit ;;
    *) die_usage "There is no option or argument '$1'." ;;
  esac
  settings_load
  layer_load native
  while [[ -d $RUN_DIR ]]; do
    for component in "${KNOWN_COMPONENTS[@]}"; do look_at "$component"; done
    logs_rotate
    sleep "$LOOK_INTERVAL_S"
  done
}

main "$@"
