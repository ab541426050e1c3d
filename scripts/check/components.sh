# shellcheck shell=bash
# Section 1: the components, and the errors in their logs.

# Without one of these nothing arrives; the other NATS nodes back each other up.
readonly CRITICAL_COMPONENTS=" postgres-a postgres-b nats-a-1 nats-b-1 data-generator outbox-publisher inbox-processor "

# So many deaths in a row are a crash loop.
readonly CRASH_LOOP_DEATHS=3

components_print() {
  local component state
  heading "Components"
  WATCH_PROBLEM=$(layer_watch_problem) || true
  for component in "${POSTGRES_COMPONENTS[@]}" "${NATS_COMPONENTS[@]}" \
    data-generator outbox-publisher inbox-processor; do
    component_print "$component"
  done
  for component in $(monitoring_in_use); do
    read -r state _ < <(component_state "$component")
    [[ $state == stopped ]] || component_print "$component"
  done
  [[ -z $WATCH_PROBLEM ]] || finding "$WARNING" "$WATCH_PROBLEM" "./start-replication.sh (starts it, and leaves what runs as it is)"
  zone_print a nats-a-1 nats-a-2 nats-a-3
  zone_print b nats-b-1 nats-b-2 nats-b-3
}

component_print() {
  local component=$1 state since restarts deaths errors last_error note level=0
  read -r state since restarts deaths < <(component_state "$component")
  read -r errors last_error < <(errors_of "$component" || printf '?\n')
  note=$(component_note "$component" "$state" "$since" "$deaths") || level=$?
  printf '  %-17s%s%-8s%s%s, restarts: %s, errors in 10 min: %s%s%s\n' "$component" \
    "$(level_colour "$level")" "$state" "$PLAIN" "$note" "$restarts" \
    "$(level_colour "$([[ $errors == 0 ]]; printf '%s' "$?")")" "$errors" "$PLAIN"
  ((level == 0)) || finding "$level" "$component: $note" "$(component_next "$component" "$state" "$deaths")"
  case $errors in
    0) ;;
    *[^0-9]*) finding "$UNKNOWN" "$component: its log cannot be read" "./logs.sh $component shows why" ;;
    *) finding "$WARNING" "$component: $errors errors in its log in 10 minutes. Last: $last_error" "./logs.sh $component --tail=200" ;;
  esac
}

# Prints a component's state in words; the exit status is its level.
component_note() {
  local component=$1 state=$2 since=$3 deaths=$4 level=1 reason
  [[ $CRITICAL_COMPONENTS != *" $component "* ]] || level=2
  if ((deaths >= CRASH_LOOP_DEATHS)); then
    printf 'crash loop: died %s times in a row, each time soon after its start' "$deaths"
    return "$level"
  fi
  case $state in
    up)
      if reason=$(component_healthy "$component"); then
        printf 'since %s' "$(since_print "$since")"
        return 0
      fi
      printf '%s' "$reason"
      [[ $reason != degraded* ]] || level=1
      ;;
    stopped)
      printf 'stopped on purpose'
      level=1
      ;;
    died)
      if [[ -z $WATCH_PROBLEM ]]; then printf 'died; restart pending'; else printf 'died, and nothing restarts it'; fi
      ;;
    failed) printf 'its last start failed' ;;
    *) printf 'never started' ;;
  esac
  return "$level"
}

component_next() {
  if (($3 >= CRASH_LOOP_DEATHS)) && [[ -z $WATCH_PROBLEM ]]; then
    printf './logs.sh %s shows why; it is restarted at least once a minute' "$1"
  elif [[ $2 == up ]]; then
    printf './logs.sh %s; if that does not help: ./stop-replication.sh %s && ./start-replication.sh %s' "$1" "$1" "$1"
  elif [[ $2 == died || $2 == failed ]]; then
    printf './logs.sh %s shows why; then ./start-replication.sh %s' "$1" "$1"
  else
    printf './start-replication.sh %s' "$1"
  fi
}

# 1795508000 -> 2026-11-24 08:13 (12 min)
since_print() {
  local age_s=$((EPOCHSECONDS - $1)) age
  if ((age_s < 120)); then
    age="$age_s s"
  elif ((age_s < 7200)); then
    age="$((age_s / 60)) min"
  elif ((age_s < 172800)); then
    age="$((age_s / 3600)) h"
  else
    age="$((age_s / 86400)) days"
  fi
  printf '%(%Y-%m-%d %H:%M)T (%s)' "$1" "$age"
}

# zone_print ZONE NODE…: the state of the zone, as its first healthy node reports it.
zone_print() {
  local zone=$1 node
  shift
  for node in "$@"; do
    component_healthy "$node" >/dev/null || continue
    nats_has_leader "$node" || finding 1 "NATS zone $zone has no JetStream leader (according to $node)" \
      "at least two of its three nodes must be up: ./start-replication.sh $*; an election takes up to 10 s"
    nats_has_gateway "$node" || finding 1 "NATS zone $zone has no connection to the other zone (according to $node)" \
      "./logs.sh $node; events wait in the outbox, nothing is lost"
    return 0
  done
}
