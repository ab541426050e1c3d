#!/usr/bin/env bash
# Usage: scripts/test-containers.sh [--keep-images] [--older-services DIRECTORY]
#
# Runs the demo in containers as an operator does: docker-compose.yml and Dockerfile as they are, with the
# default names and ports. Where the official images are not here, stand-ins (tests/containers/README.md) take
# their names for the time of the test. A step of test-replication.sh, where a Docker engine answers.
#
#   --keep-images      keep the image of the services that was built, for the next run
#   --older-services   where the programs are that play the older version (target/release)
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/servers.sh"
source "$ROOT/tests/containers/standins.sh"

readonly SET_ASIDE=$STANDIN:services-set-aside
readonly WARM_IMAGE=$STANDIN:services-warm
# Bounds on liveness: the other suites load the machine meanwhile.
readonly GREEN_DEADLINE_S=240
readonly EQUAL_DEADLINE_S=120
readonly FINGERPRINT="
  select 'users', count(*), md5(string_agg(t::text, chr(10) order by id)) from users t
  union all select 'payments', count(*), md5(string_agg(t::text, chr(10) order by id)) from payments t"
readonly PAUSE_S=15
# Those of different zones, which stand in for nobody in the other one, are hurt together.
readonly HURT_TOGETHER=(
  "postgres-a postgres-b" "nats-a-1 nats-b-1" "nats-a-2 nats-b-2" "nats-a-3 nats-b-3"
  "inbox-processor outbox-publisher data-generator"
)
readonly CUT_S=30

parse_arguments() {
  KEEP_IMAGES=false OLDER_SERVICES=${CARGO_TARGET_DIR:-$ROOT/target}/release
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --keep-images) KEEP_IMAGES=true ;;
      --older-services)
        [[ -d ${2:-} ]] || die_usage "--older-services takes a directory."
        OLDER_SERVICES=$2
        shift
        ;;
      *) die_usage "There is no option '$1'." ;;
    esac
    shift
  done
}

# The default ports, whatever test-replication.sh has set for its own servers, and .env.example's recipe for
# high load. The project is this checkout's: nothing of another one is taken for ours.
own_settings_load() {
  local setting
  export RUN_DIR=$ROOT/.run/containers-test ENV_FILE=/dev/null
  export POLL_INTERVAL=0.2 BATCH_SIZE=50 GENERATION_INTERVAL=0.2 START_TIMEOUT=$GREEN_DEADLINE_S
  for setting in "${SETTINGS[@]}"; do
    [[ $setting != *_PORT=* ]] || export "${setting?}"
  done
  COMPOSE_PROJECT_NAME=replication-test-$(printf '%s' "$ROOT" | sha256sum | cut --characters=1-8)
  export COMPOSE_PROJECT_NAME
  settings_load
  layer_source docker
}

# The names and the ports are fixed, so that what users type is what is tested. One such test at a time on
# a machine, from whichever checkout; what an interrupted one left behind is removed.
refuse_others() {
  local component holder
  exec {ENGINE_LOCK}>"${TMPDIR:-/tmp}/replication-containers-test.lock"
  flock --nonblock "$ENGINE_LOCK" || die "Another test of containers is at work on this machine. Wait until it has ended."
  for component in "${ALL_COMPONENTS[@]}"; do
    if container_exists "$component" \
      && [[ $(docker container inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$component") != "$COMPOSE_PROJECT_NAME" ]]; then
      say "Skipped: there is a container $component that this test did not make, and names are fixed. Stop its system and remove it (its data is in a volume, and stays): ./stop-replication.sh && docker rm ${ALL_COMPONENTS[*]}"
      exit 0
    fi
  done
  remove_ours
  if holder=$(default_port_holder); then
    say "Skipped: this test needs the default ports, and $holder."
    exit 0
  fi
}

# Names the first of the default ports that is taken; false if all are free.
default_port_holder() {
  local component variable
  for component in "${ALL_COMPONENTS[@]}"; do
    while read -r variable; do
      ! port_is_taken "${!variable}" || {
        printf 'port %s is taken by %s' "${!variable}" "$(port_holder "${!variable}")"
        return 0
      }
    done < <(component_ports "$component")
  done
  return 1
}

# What is ours on the engine: all that Compose labelled with the project.
list_ours() {
  local ours=(--quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
  docker container ls --all "${ours[@]}"
  docker volume ls "${ours[@]}"
  docker network ls "${ours[@]}"
}

remove_ours() {
  local ours=(--quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
  docker container ls --all "${ours[@]}" | xargs --no-run-if-empty docker container rm --force
  docker volume ls "${ours[@]}" | xargs --no-run-if-empty docker volume rm --force
  docker network ls "${ours[@]}" | xargs --no-run-if-empty docker network rm
  rm -rf "$RUN_DIR"
} >/dev/null

quietly() {
  local output
  output=$("$@" 2>&1) || die "$* failed:"$'\n'"$output"
}

# green WHAT: waits until the check says that every component works and that B is what A was; then until B has
# every value of A, while the generator is paused. Prints how long that took.
green() {
  local what=$1 output begun_ms
  begun_ms=$(now_ms)
  until output=$("$ROOT/check-replication.sh" 2>&1); do
    (($(now_ms) - begun_ms < GREEN_DEADLINE_S * 1000)) || die "not green $GREEN_DEADLINE_S s after: $what"$'\n'"$output"
    sleep 2 # a check takes a second of a processor
  done
  [[ $(grep --count ' equal: ' <<<"$output") == 2 ]] || die "$what: green without a comparison:"$'\n'"$output"
  docker pause data-generator >/dev/null
  until_equal_by_value "$what"
  docker unpause data-generator >/dev/null
  say "$what: check green, A equals B by value, after $(seconds_since "$begun_ms") s"
}

until_equal_by_value() {
  local what=$1 in_a in_b begun_s=$SECONDS
  while true; do
    in_a=$(in_database postgres-a "$FINGERPRINT") in_b=$(in_database postgres-b "$FINGERPRINT")
    [[ $in_a != "$in_b" ]] || break
    ((SECONDS - begun_s < EQUAL_DEADLINE_S)) || die "after $what, A and B still differ after $EQUAL_DEADLINE_S s:"$'\n'"$in_a"$'\n'"$in_b"
    sleep 0.5
  done
  [[ $(in_database postgres-b 'select count(*) from replication.quarantine') == 0 ]] \
    || die "after $what, something is in quarantine"
}

in_database() { docker exec "$1" psql -U postgres -d transactions --tuples-only --no-align --command="$2"; }

# until_users COUNT: the generator works, and what it writes is committed in A.
until_users() {
  local begun_s=$SECONDS
  until (($(in_database postgres-a 'select count(*) from users') > $1)); do
    ((SECONDS - begun_s < GREEN_DEADLINE_S)) || die "data-generator made no $1 users in $GREEN_DEADLINE_S s"
    sleep 0.2
  done
}

# says TEXT STATUS COMMAND…
says() {
  local text=$1 status=$2 output actual=0
  shift 2
  output=$("$@" 2>&1) || actual=$?
  [[ $actual == "$status" && $output == *"$text"* ]] \
    || die "expected status $status and \"$text\" of: $*"$'\n'"got status $actual and:"$'\n'"$output"
}

# Without what the image of the services is built from, the one that is here is used. It plays the older
# version, with which the data is made.
story_of_a_start() {
  local component
  older_services_image_make
  says "Running as containers: a Docker engine is available and has the images." 0 "$ROOT/start-replication.sh"
  for component in "${ALL_COMPONENTS[@]}"; do
    component_healthy "$component" >/dev/null || die "$component is not healthy: $(component_healthy "$component")"
    until_healthy_for_docker "$component"
  done
  says "POLL_INTERVAL 0.2 s, BATCH_SIZE 50" 0 docker logs outbox-publisher
  says "GENERATION_INTERVAL 0.2 s" 0 docker logs data-generator
  says "messages are signed, and believed with a key of NATS_SIGNING_KEY_FILE" 0 docker logs outbox-publisher
  says "messages are signed, and believed with a key of NATS_SIGNING_KEY_FILE" 0 docker logs inbox-processor
  until_users 20
  green "eleven containers started"
  says "already runs with --docker" 1 "$ROOT/start-replication.sh" --native
}

# By the health check of its own, which depends_on waits for.
until_healthy_for_docker() {
  local begun_s=$SECONDS
  until [[ $(docker container inspect --format '{{.State.Health.Status}}' "$1") == healthy ]]; do
    ((SECONDS - begun_s < GREEN_DEADLINE_S)) || die "the health check of $1 does not succeed: $(docker container inspect --format '{{json .State.Health}}' "$1")"
    sleep 0.2
  done
}

older_services_image_make() {
  local context=$STANDIN_WORK/older service
  mkdir -p "$context/certs"
  cp /etc/ssl/certs/ca-certificates.crt "$context/certs/"
  for service in "${SERVICE_COMPONENTS[@]}"; do cp "$OLDER_SERVICES/$service" "$context/"; done
  strip --strip-debug "$context"/*-*
  cat >"$context/Dockerfile" <<END
FROM $STANDIN:debian
COPY certs /etc/ssl/certs
COPY ${SERVICE_COMPONENTS[*]} /usr/local/bin/
USER 10001:10001
END
  quietly docker build --tag "$SERVICES_IMAGE" "$context"
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
  says "OK: B equals A" 0 "$ROOT/compare-replication.sh"
  say "the commands that users know work as they stand"
}

known() {
  local output
  output=$(script --quiet --return --command "$1" /dev/null </dev/null) || die "$1 failed:"$'\n'"$output"
  grep --quiet "$2" <<<"$output" || die "$1 does not print $2:"$'\n'"$output"
}

# What docker-compose.yml promises, seen from inside.
story_of_careful_services() {
  local service component
  for component in "${ALL_COMPONENTS[@]}"; do
    [[ $(docker container inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$component") == "true [ALL] [no-new-privileges:true]" ]] \
      || die "$component may do more than it needs"
  done
  for service in "${SERVICE_COMPONENTS[@]}"; do
    [[ $(docker container inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.Config.User}}' "$service") == "true 10001:10001" ]] \
      || die "$service is not read-only and without root"
    docker stop "$service" >/dev/null
    # The engine kills what has not stopped after ten seconds.
    [[ $(docker container inspect --format '{{.State.ExitCode}}' "$service") == 0 ]] || die "$service did not stop cleanly"
    quietly "$ROOT/start-replication.sh" "$service"
  done
  green "each service stopped cleanly"
}

# The restart policy brings a process back that died; docker kill cancels it.
story_of_deaths() {
  local component group components
  for group in "${HURT_TOGETHER[@]}"; do
    read -ra components <<<"$group"
    for component in "${components[@]}"; do death "$component"; done
    green "$group killed by process id, and restarted by policy"
  done
  for group in "${HURT_TOGETHER[@]}"; do
    read -ra components <<<"$group"
    docker kill "${components[@]}" >/dev/null
    quietly "$ROOT/start-replication.sh" "${components[@]}"
    green "docker kill $group, then start-replication.sh $group"
  done
}

death() {
  local component=$1 before pid id begun_s=$SECONDS
  read -r before pid id < <(docker container inspect --format '{{.State.StartedAt}} {{.State.Pid}} {{.Id}}' "$component")
  # The engine may run elsewhere, and the number be that of another process here.
  if ! { ((pid > 1)) && grep --quiet "$id" "/proc/$pid/cgroup"; }; then
    die "the process $pid of $component is not on this machine: the engine must run here for this test"
  fi
  kill -s KILL "$pid"
  until [[ $(docker container inspect --format '{{.State.Running}} {{.State.StartedAt}}' "$component") == "true "* \
    && $(docker container inspect --format '{{.State.StartedAt}}' "$component") != "$before" ]]; do
    ((SECONDS - begun_s < GREEN_DEADLINE_S)) || die "$component was not restarted by its policy"
    sleep 0.1
  done
}

story_of_pauses() {
  local group components
  for group in "${HURT_TOGETHER[@]}"; do
    read -ra components <<<"$group"
    docker pause "${components[@]}" >/dev/null
    sleep "$PAUSE_S"
    docker unpause "${components[@]}" >/dev/null
    green "$group paused for $PAUSE_S s"
  done
}

story_of_a_cut_between_the_zones() {
  local node network=${COMPOSE_PROJECT_NAME}_gateways
  for node in "${NATS_COMPONENTS[@]}"; do docker network disconnect "$network" "$node"; done
  sleep "$CUT_S"
  for node in "${NATS_COMPONENTS[@]}"; do docker network connect "$network" "$node"; done
  green "the gateways' network cut for $CUT_S s"
}

# Builds the image of the services under another name, beside the stories that mostly wait: the engine has all of its
# layers when the upgrade builds it.
services_image_warm() {
  local image recipe
  standins_make "${BUILD_IMAGES[@]}"
  recipe=$(<"$ROOT/Dockerfile")
  for image in "${BUILD_IMAGES[@]}"; do
    image_is_here "$image" || recipe=${recipe//"FROM $image"/"FROM $STANDIN:${image%%:*}"}
  done
  docker build --tag "$WARM_IMAGE" --file - "$ROOT" <<<"$recipe"
}

services_image_warm_begin() {
  services_image_warm >"$STANDIN_WORK/warm.log" 2>&1 </dev/null &
  WARM=$!
}

services_image_warm_await() {
  wait "$WARM" || die "the image of the services cannot be built:"$'\n'"$(tail -n 30 "$STANDIN_WORK/warm.log")"
  WARM=
}

# A new version, built from the Dockerfile: it continues with the data of the older one.
story_of_a_stop_an_upgrade_and_a_start() {
  local users older service
  users=$(in_database postgres-b 'select count(*) from users')
  older=$(docker image inspect --format '{{.Id}}' "$SERVICES_IMAGE")
  quietly "$ROOT/stop-replication.sh"
  services_image_warm_await
  standins_tag "${BUILD_IMAGES[@]}"
  says "Running as containers: as last time." 0 "$ROOT/start-replication.sh"
  for service in "${SERVICE_COMPONENTS[@]}"; do
    [[ $(docker container inspect --format '{{.Image}}' "$service") != "$older" ]] || die "$service still runs the older image"
  done
  until_users "$users"
  (($(in_database postgres-b 'select count(*) from users') >= users / 2)) || die "the data was not kept"
  green "stopped, the services' image rebuilt, started with the data of before"
}

# An image of the services that was here before the test has its name again after it, also if a test is
# interrupted in between: then the next one gives it back.
services_image_set_aside() {
  image_is_here "$SET_ASIDE" || ! image_is_here "$SERVICES_IMAGE" || docker tag "$SERVICES_IMAGE" "$SET_ASIDE"
}

services_image_give_back() {
  image_is_here "$SET_ASIDE" || return 0
  docker tag "$SET_ASIDE" "$SERVICES_IMAGE"
  docker rmi "$SET_ASIDE" >/dev/null
}

story_of_a_purge() {
  local left
  quietly "$ROOT/stop-replication.sh" --purge
  left=$(list_ours)
  [[ -z $left ]] || die "--purge left on the engine: $left"
  [[ ! -e $RUN_DIR ]] || die "--purge left something in $RUN_DIR: $(ls "$RUN_DIR")"
  say "--purge left no container, network or volume"
}

# As the head of docker-compose.yml says. The scripts that read find it; a start takes it over, and a purge removes it.
story_of_compose_by_hand() {
  quietly compose up --detach --no-build
  green "docker compose up, by hand"
  says "messages are not signed" 0 docker logs outbox-publisher
  says "GENERATION_INTERVAL 0.2 s" 0 "$ROOT/logs.sh" data-generator --tail=100000
  says "started with Compose by hand" 1 "$ROOT/stop-replication.sh"
  quietly "$ROOT/start-replication.sh"
  story_of_a_purge
}

story_of_tls() {
  local side service
  quietly "$ROOT/start-replication.sh" --docker --tls
  for side in a b; do
    [[ $(in_database "postgres-$side" "select bool_and(ssl) and count(*) > 1 from pg_stat_ssl join pg_stat_activity using (pid) where application_name <> 'psql' and backend_type = 'client backend'") == t ]] \
      || die "a service speaks to postgres-$side without TLS"
  done
  for service in "${SERVICE_COMPONENTS[@]}"; do
    ! docker logs "$service" 2>&1 | grep --ignore-case "plain text" || die "$service warns of plain text"
  done
  green "started with TLS"
  story_of_a_purge
}

# What is removed in a moment, and says why the test failed.
tell_why() {
  local component
  heading "What the machine and the containers say"
  uptime
  docker container ls --all --format '{{.Names}}: {{.Status}}' || true
  for component in "${ALL_COMPONENTS[@]}"; do
    container_exists "$component" || continue
    say "$component:"
    docker logs --tail 12 "$component" 2>&1 | cut --characters=1-400 | sed 's/^/  | /' || true
  done
} >&2

clean_up() {
  local status=$?
  ((status == 0)) || tell_why
  [[ -z $WARM ]] || { kill "$WARM" && wait "$WARM"; } 2>/dev/null || true
  remove_ours || true
  $KEEP_IMAGES || docker rmi --no-prune "$SERVICES_IMAGE" >/dev/null 2>&1 || true
  services_image_give_back
  ! image_is_here "$WARM_IMAGE" || docker rmi --no-prune "$WARM_IMAGE" >/dev/null
  standins_untag "${IMAGES[@]}" "${BUILD_IMAGES[@]}"
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
  mapfile -t IMAGES < <(images_of docker-compose.yml | sort --unique)
  mapfile -t BUILD_IMAGES < <(images_of Dockerfile | sort --unique)
  STANDIN_WORK=$(mktemp --directory) WARM=
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  services_image_set_aside
  standins_make "${IMAGES[@]}"
  standin_is_current debian || standin_debian
  standins_tag "${IMAGES[@]}"
  story_of_a_start
  story_of_known_commands
  services_image_warm_begin
  story_of_careful_services
  story_of_deaths
  story_of_pauses
  story_of_a_cut_between_the_zones
  story_of_a_stop_an_upgrade_and_a_start
  story_of_a_purge
  story_of_compose_by_hand
  story_of_tls
}

main "$@"
