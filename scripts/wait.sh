# shellcheck shell=bash
# Waits, with a deadline, until components are healthy; on failure it shows why.

readonly LOG_LINES_ON_FAILURE=15

# wait_until_healthy COMPONENT BEGUN_MS: 1, with its last log lines shown, if it exits; RUNS_UNHEALTHY, with the reason in
# REASON, if it runs and is not healthy within START_TIMEOUT seconds.
wait_until_healthy() {
  local component=$1 begun_ms=$2 state told_s=5
  while ! REASON=$(component_healthy "$component"); do
    read -r state _ < <(component_state "$component")
    if [[ $state != up ]]; then
      wait_failed "$component" "exited right after its start"
      return 1
    elif (($(now_ms) - begun_ms >= START_TIMEOUT * 1000)); then
      # A service that is degraded says why; anything else does in its log.
      [[ $REASON == degraded* ]] || wait_failed "$component" "was not healthy within $START_TIMEOUT s: $REASON"
      return "$RUNS_UNHEALTHY"
    elif (($(now_ms) - begun_ms >= told_s * 1000)); then
      progress "$component" "waiting for $told_s s: $REASON"
      told_s=$((told_s + 5))
    fi
    sleep 0.1
  done
  if [[ " ${STARTED[*]} " == *" $component "* ]]; then
    progress "$component" "${GREEN}healthy${PLAIN} after $(seconds_since "$begun_ms") s"
  else
    progress "$component" "${GREEN}healthy${PLAIN}, was already running"
  fi
}

wait_failed() {
  local component=$1 what=$2
  error "$component $what."
  printf 'Last lines of its log (%s):\n\n' "$(layer_log_hint "$component")" >&2
  component_logs "$component" "$LOG_LINES_ON_FAILURE" 2>&1 | sed 's/^/  | /' >&2 || true
  printf '\n' >&2
}

# A NATS zone is ready when its nodes have elected a JetStream leader and see the other zone. Checked
# only after a start of all six nodes: a start of single ones leaves the others as they are. If they are not ready in
# time, UNHEALTHY says why.
wait_until_zones_ready() {
  local component begun_ms missing
  for component in "${NATS_COMPONENTS[@]}"; do
    [[ " $* " == *" $component "* ]] || return 0
  done
  begun_ms=$(now_ms)
  while ! missing=$(zones_ready); do
    if (($(now_ms) - begun_ms >= START_TIMEOUT * 1000)); then
      wait_failed "${missing%% *}" "${missing#* }, after $START_TIMEOUT s"
      # shellcheck disable=SC2034 # start.sh declares and uses it
      UNHEALTHY[NATS]=$missing
      return 1
    fi
    sleep 0.2
  done
  progress "both zones" "${GREEN}ready${PLAIN} after $(seconds_since "$begun_ms") s: leaders elected, gateways connected"
}

zones_ready() {
  local component
  for component in "${NATS_COMPONENTS[@]}"; do
    nats_has_leader "$component" || {
      printf '%s has no JetStream leader' "$component"
      return 1
    }
    nats_has_gateway "$component" || {
      printf '%s has no connection to the other zone' "$component"
      return 1
    }
  done
}
