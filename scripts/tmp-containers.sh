#!/usr/bin/env bash
# Usage: scripts/test-containers.sh [--keep-images]
#
# Runs the demo in containers as an operator does: docker-compose.yml and Dockerfile as they are, with the
# default names and ports. Where the official images are not here, stand-ins (tests/containers/README.md) take
# their names for the time of the test. A step of test-replication.sh, where a Docker engine answers.
#
#   --keep-images   keep the image of the services that was built, for the next run
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/docker/engine.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/tests/containers/standins.sh"

readonly GREEN_DEADLINE_S=120
readonly PAUSE_S=15
readonly CUT_S=30

parse_arguments() {
  KEEP_IMAGES=false
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    --keep-images) KEEP_IMAGES=true ;;
    '') ;;
    *) die_usage "There is no option '$1'." ;;
  esac
}

own_settings_load() {
  export RUN_DIR=$ROOT/.run/containers-test ENV_FILE=/dev/null GENERATION_INTERVAL=0.2
  export COMPOSE_PROJECT_NAME=replication-containers-test
  settings_load
  layer_load docker
}

# The names and the ports are fixed, so that what users type is what is tested.
refuse_others() {
  local component
  for component in "${ALL_COMPONENTS[@]}"; do
    ! container_exists "$component" \
      || [[ $(docker container inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$component") == "$COMPOSE_PROJECT_NAME" ]] \
      || die "There is a container $component that this test did not make. Remove it, or run the test elsewhere: docker rm --force $component"
  done
  "$ROOT/stop-replication.sh" --purge >/dev/null 2>&1 || true
  ports_check "${ALL_COMPONENTS[@]}"
}

quietly() {
  local output
  output=$("$@" 2>&1) || die "$* failed:"$'\n'"$output"
}

# green WHAT: waits until the check says that every component works and that B is what A was, and says how long
# that took.
green() {
  local what=$1 output begun_ms
  begun_ms=$(now_ms)
  until output=$("$ROOT/check-replication.sh" 2>&1); do
    (($(now_ms) - begun_ms < GREEN_DEADLINE_S * 1000)) || die "not green $GREEN_DEADLINE_S s after: $what"$'\n'"$output"
    sleep 0.5
  done
  [[ $(grep --count ' equal: ' <<<"$output") == 2 ]] || die "$what: green without a comparison:"$'\n'"$output"
  say "$what: A equals B, check green after $(seconds_since "$begun_ms") s"
}

in_database() { docker exec "$1" psql -U postgres -d transactions --tuples-only --no-align --command="$2"; }

# Every value of every row, once nothing is on its way.
equal_by_value() {
  local table begun_s=$SECONDS rows
  quietly "$ROOT/stop-replication.sh" data-generator
  until [[ $(in_database postgres-a 'select count(*) from outbox where not confirmed') == 0 ]]; do
    ((SECONDS - begun_s < GREEN_DEADLINE_S)) || die "events stay unconfirmed"
    sleep 0.2
  done
  for table in users payments; do
    rows="select count(*) || ' ' || coalesce(md5(string_agg(t::text, chr(10) order by id)), '') from $table t"
    [[ $(in_database postgres-a "$rows") == "$(in_database postgres-b "$rows")" ]] || die "$table differs between A and B"
  done
  [[ $(in_database postgres-b 'select count(*) from replication.quarantine') == 0 ]] || die "something is in quarantine"
  say "users and payments are the same in A and B, by value"
  quietly "$ROOT/start-replication.sh" data-generator
}

story_of_a_start() {
  local component
  quietly "$ROOT/start-replication.sh" --docker
  for component in "${ALL_COMPONENTS[@]}"; do
    component_healthy "$component" >/dev/null || die "$component is not healthy: $(component_healthy "$component")"
  done
  until (($(in_database postgres-a 'select count(*) from users') > 20)); do sleep 0.2; done
  green "eleven containers started"
}

# As their users know them by heart; a terminal is what -it asks for.
story_of_known_commands() {
  local side page port
  for side in a b; do
    known "docker exec -it postgres-$side psql -U postgres -d transactions -c \"SELECT * FROM users LIMIT 5;\"" '(5 rows)'
    known "docker exec -it postgres-$side psql -U postgres -d transactions -c \"SELECT * FROM payments LIMIT 5;\"" '(5 rows)'
  done
  known 'docker exec -it postgres-a psql -U postgres -d transactions -c "SELECT * FROM outbox WHERE processed = false;"' 'rows)\|row)'
  known 'docker exec -it postgres-b psql -U postgres -d transactions -c "SELECT * FROM inbox ORDER BY created_at DESC LIMIT 5;"' '(5 rows)'
  for port in 8222 8223; do
    for page in connz gatewayz jsz; do known "curl http://localhost:$port/$page" '"server_id"\|"now"'; done
  done
  say "the commands that users know work as they stand"
}

known() {
  local output
  output=$(script --quiet --return --command "$1" /dev/null </dev/null) || die "$1 failed:"$'\n'"$output"
  grep --quiet "$2" <<<"$output" || die "$1 does not print $2:"$'\n'"$output"
}

# What the services promise in docker-compose.yml, seen from inside.
story_of_careful_services() {
  local service begun_ms
  for service in "${SERVICE_COMPONENTS[@]}"; do
    [[ $(docker container inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.Config.User}}' "$service") == "true 10001:10001" ]] \
      || die "$service is not read-only and without root"
    begun_ms=$(now_ms)
    docker stop "$service" >/dev/null
    (($(now_ms) - begun_ms < 2000)) || die "$service took $(seconds_since "$begun_ms") s to stop"
    [[ $(docker container inspect --format '{{.State.ExitCode}}' "$service") == 0 ]] || die "$service did not stop cleanly"
    quietly "$ROOT/start-replication.sh" "$service"
  done
  green "each service stopped cleanly within 2 s"
}

# The restart policy brings a process back that died; docker kill cancels it.
story_of_deaths() {
  local component
  for component in "${ALL_COMPONENTS[@]}"; do
    death "$component"
    green "$component killed by its process id, and restarted by its policy"
  done
  for component in "${ALL_COMPONENTS[@]}"; do
    docker kill "$component" >/dev/null
    quietly "$ROOT/start-replication.sh" "$component"
    green "$component: docker kill, then start-replication.sh $component"
  done
}

death() {
  local component=$1 before begun_s=$SECONDS
  before=$(docker container inspect --format '{{.State.StartedAt}}' "$component")
  kill -s KILL "$(docker container inspect --format '{{.State.Pid}}' "$component")"
  until [[ $(docker container inspect --format '{{.State.Running}} {{.State.StartedAt}}' "$component") == "true "* \
    && $(docker container inspect --format '{{.State.StartedAt}}' "$component") != "$before" ]]; do
    ((SECONDS - begun_s < GREEN_DEADLINE_S)) || die "$component was not restarted by its policy"
    sleep 0.1
  done
}

story_of_pauses() {
  local component
  for component in "${ALL_COMPONENTS[@]}"; do
    docker pause "$component" >/dev/null
    sleep "$PAUSE_S"
    docker unpause "$component" >/dev/null
    green "$component paused for $PAUSE_S s"
  done
}

story_of_a_cut_between_the_zones() {
  local node network=${COMPOSE_PROJECT_NAME}_gateways
  for node in "${NATS_COMPONENTS[@]}"; do docker network disconnect "$network" "$node"; done
  sleep "$CUT_S"
  for node in "${NATS_COMPONENTS[@]}"; do docker network connect "$network" "$node"; done
  green "the gateways' network cut for $CUT_S s"
}

# A new version of ours: containers made anew from an image built anew, on the data that is there.
story_of_a_stop_an_upgrade_and_a_start() {
  local users
  users=$(in_database postgres-b 'select count(*) from users')
  quietly "$ROOT/stop-replication.sh"
  docker rm "${SERVICE_COMPONENTS[@]}" >/dev/null
  quietly "$ROOT/start-replication.sh"
  (($(in_database postgres-b 'select count(*) from users') >= users / 2)) || die "the data was not kept"
  green "stopped, services made anew, started"
}

story_of_a_purge() {
  local filter=label=com.docker.compose.project=$COMPOSE_PROJECT_NAME left
  quietly "$ROOT/stop-replication.sh" --purge
  left=$(docker ps --all --quiet --filter "$filter" && docker network ls --quiet --filter "$filter" \
    && docker volume ls --quiet --filter "$filter")
  [[ -z $left ]] || die "--purge left containers, networks or volumes: $left"
  [[ ! -e $RUN_DIR ]] || die "--purge left something in $RUN_DIR: $(ls "$RUN_DIR")"
  say "--purge left no container, network or volume"
}

clean_up() {
  [[ ! -e $RUN_DIR/mode ]] || "$ROOT/stop-replication.sh" --purge >/dev/null 2>&1 || true
  $KEEP_IMAGES || docker rmi "$SERVICES_IMAGE" >/dev/null 2>&1 || true
  standins_untag "${IMAGES[@]}"
  rm -rf "$STANDIN_WORK"
}

main() {
  local reason
  parse_arguments "$@"
  if ! reason=$(engine_answers && compose_load); then
    say "Skipped: $reason."
    exit 0
  fi
  compose_load
  own_settings_load
  refuse_others
  mapfile -t IMAGES < <({ images_of docker-compose.yml && images_of Dockerfile; } | sort --unique)
  STANDIN_WORK=$(mktemp --directory)
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  standins_make "${IMAGES[@]}"
  standins_tag "${IMAGES[@]}"
  story_of_a_start
  :
  :
  :
  story_of_pauses
  story_of_a_cut_between_the_zones
  equal_by_value
  story_of_a_stop_an_upgrade_and_a_start
  equal_by_value
  story_of_a_purge
}

main "$@"
