# shellcheck shell=bash
# The component layer for containers: the functions that components.sh describes. A container has
# its component's name. docker-compose.yml defines it, and Compose creates and starts it;
# everything else uses the engine directly.
#
#   RUN_DIR/<component>.started   it was started and not stopped since: if it is down, it died

source "$ROOT/scripts/signing.sh"
source "$ROOT/scripts/monitoring.sh"

layer_require() {
  local reason
  reason=$(engine_answers) || die "Cannot use containers: $reason. Is a Docker engine running, and may you use it? docker version. To run plain processes instead: ./start-replication.sh --native"
  containers_refuse_foreign
}

# A container has its component's name, whoever created it: another system's must not be used or purged.
containers_refuse_foreign() {
  local list name project folder
  list=$(containers_list) || die "The Docker engine does not list its containers: docker container ls --all"
  while read -r name project folder; do
    ! component_is_known "$name" || container_is_ours "$project" "$folder" \
      || die "The container $name belongs to another Compose project ('$project' in '$folder'; this one is '$(compose_project)' in '$ROOT'), and container names are fixed. Remove it first: docker rm $name"
  done <<<"$list"
}

layer_prepare() {
  local reason component kinds=''
  reason=$(docker_can_run) \
    || die "Cannot use containers: $reason. Nothing was started. To run plain processes instead: ./start-replication.sh --native"
  compose_load
  for component in "$@"; do kinds+=" $(component_kind "$component")"; done
  [[ $kinds != *service* ]] || image_of_services_build
  [[ $kinds != *monitoring* ]] || images_of_monitoring_pull
}

# Nobody else needs them.
images_of_monitoring_pull() {
  local image reason missing=()
  for image in $(images_of_monitoring); do image_is_here "$image" || missing+=("$image"); done
  [[ ${#missing[@]} -eq 0 ]] || reason=$(images_pull "${missing[@]}") \
    || die "Cannot start the monitoring: $reason. Nothing was started. Without it: ./start-replication.sh --docker"
}

monitoring_offered() { printf '%s\n' "${MONITORING_COMPONENTS[@]}"; }

# If the images that it is built from are missing, an existing image is used as it is.
image_of_services_build() {
  local image
  for image in $(images_of Dockerfile); do
    image_is_here "$image" || {
      say "Using the existing image $SERVICES_IMAGE: without $image it cannot be rebuilt."
      return 0
    }
  done
  heading "Building the image of the services ($SERVICES_IMAGE)"
  compose build inbox-processor \
    || die "The build failed; see its messages above. Nothing was started. To run plain processes instead: ./start-replication.sh --native"
}

# settings.sh has read and exported .env. Compose is given the file of defaults instead, so that
# ENV_FILE works here too.
declare -a WITHIN=() # a command that bounds the time that Compose may take
compose() {
  local inside='' files=(--file "$ROOT/docker-compose.yml")
  ! tls_is_on || files+=(--file "$ROOT/docker-compose.tls.yml")
  [[ -z ${NATS_SIGNING_KEY_FILE:-} ]] || inside=/run/secrets/signing.keys
  TLS_DIR=$(tls_directory) SIGNING_KEY_OUTSIDE=${NATS_SIGNING_KEY_FILE:-} SIGNING_KEY_INSIDE=$inside \
    "${WITHIN[@]}" "${COMPOSE[@]}" "${files[@]}" --env-file "$ROOT/.env.example" \
    --project-directory "$ROOT" --project-name "$(compose_project)" "$@"
}

layer_log_hint() { printf 'docker logs %s' "$1"; }

# Routes and gateways stay inside Docker's networks.
component_ports() {
  local name
  name=$(component_variable "$1")
  case $(component_kind "$1") in
    postgres) printf '%s\n' "${name}_PORT" ;;
    nats) printf '%s\n' "$name"_{,MONITOR_}PORT ;;
    service) printf '%s\n' "${name}_HTTP_PORT" ;;
    monitoring) printf '%s\n' "${name#MONITORING_}_PORT" ;;
  esac
}

component_start() {
  local output
  if ! component_is_up "$1"; then
    signing_key_export
    output=$(compose up --detach --no-deps --no-build "$1" 2>&1 </dev/null) || {
      error "Docker did not start $1:"
      printf '%s\n' "$output" | sed 's/^/  | /' >&2
      return 1
    }
  fi
  : >"$RUN_DIR/$1.started"
  stop_reason_forget "$1"
}

# The same deadlines as plain processes have. PostgreSQL's image stops on SIGINT, a fast shutdown.
component_stop() {
  local deadline_s=30
  [[ $(component_kind "$1") != postgres ]] || deadline_s=60
  rm -f "$RUN_DIR/$1.started"
  ! container_exists "$1" || docker stop --time "$deadline_s" "$1" >/dev/null
}

container_exists() { docker container inspect "$1" >/dev/null 2>&1; }

# Docker's restart policy is the watcher.
layer_watch() { :; }
layer_unwatch() { :; }
layer_watch_problem() { :; }

# A container that Docker is about to restart counts as died.
component_state() {
  local component=$1 state status='' since=- restarts=0
  read -r status since restarts < <(docker container inspect \
    --format '{{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}' "$component" 2>/dev/null) || true
  if [[ $status == running || $status == paused ]]; then
    state=up since=$(date --date="$since" +%s)
  elif [[ $status == restarting || -e $RUN_DIR/$component.started ]]; then
    state=died
  else
    state=$(stop_reason "$component")
    [[ $state != absent || -z $status ]] || state=stopped
  fi
  [[ $state == up ]] || since=-
  printf '%s %s %s 0\n' "$state" "$since" "${restarts:-0}"
}

component_healthy() {
  local status
  status=$(docker container inspect --format '{{.State.Status}}' "$1" 2>/dev/null) || status=absent
  case $status in
    running) "container_$(component_kind "$1")_healthy" "$1" ;;
    paused)
      printf 'paused; resume it: docker unpause %s\n' "$1"
      return 1
      ;;
    *)
      printf 'not running\n'
      return 1
      ;;
  esac
}

# Runs now what the container's own health check runs every few seconds.
container_postgres_healthy() {
  local answer
  answer=$(component_psql "$1" --command='select 1' 2>&1 </dev/null) || {
    answer=${answer##*: } answer=${answer# }
    # After an interrupted first start, the image takes the incomplete data for a server's.
    [[ $answer != *'"transactions" does not exist'* ]] \
      || answer+=": its first start was interrupted. Delete its data and start again: ./stop-replication.sh --purge $1"
    printf '%s\n' "$answer" | head -n 1
    return 1
  }
}

container_nats_healthy() {
  local answer
  answer=$(nats_page "$1" '/healthz?js-enabled-only=true') && return 0
  printf 'unhealthy by its monitoring page: %s\n' "$answer"
  return 1
}

container_monitoring_healthy() { monitoring_healthy "$1"; }

container_service_healthy() {
  local answer
  answer=$(timeout 10 docker exec "$1" "$1" health 2>&1 </dev/null) && return 0
  printf '%s\n' "${answer:-no answer}" | head -n 1
  return 1
}

component_logs() {
  local lines=$2 follow=${3:+--follow}
  container_exists "$1" || die "$1 has no log yet: never started. Start it: ./start-replication.sh $1"
  docker logs --tail "$lines" ${follow:+"$follow"} "$1" 2>&1
}

component_has_log() { container_exists "$1"; }

# By TCP, which shows whether the server accepts connections from others.
component_psql() {
  local component=$1
  shift
  PGPASSWORD=$POSTGRES_PASSWORD PGCONNECT_TIMEOUT=3 timeout --foreground "${PSQL_DEADLINE_S:-60}" \
    docker exec --interactive --env PGPASSWORD --env PGCONNECT_TIMEOUT "$component" psql --no-psqlrc \
    --host=127.0.0.1 --username=postgres --dbname=transactions "$@"
}

# In a container that ends with it.
database_prepare() {
  local WITHIN=(timeout --foreground "$PREPARE_DEADLINE_S")
  compose run --rm --no-deps -T "prepare-${1#postgres-}" 2>&1 </dev/null
}

component_disk_free() {
  timeout 5 docker exec "$1" df -P -B 1 /var/lib/postgresql/data 2>/dev/null </dev/null | awk 'NR == 2 { print $4 }' || true
}

# The last container takes its networks along.
component_purge() {
  local project network
  project=$(compose_project)
  ! container_exists "$1" || docker rm --force --volumes "$1" >/dev/null
  # Where Compose was used by hand, what prepared the database is still there, and has ended.
  [[ $(component_kind "$1") != postgres ]] || docker container ls --all --quiet --filter "label=com.docker.compose.project=$project" \
    --filter "label=com.docker.compose.service=prepare-${1#postgres-}" | xargs --no-run-if-empty docker container rm >/dev/null
  docker volume rm --force "${project}_$1" >/dev/null
  rm -f "$RUN_DIR/$1".{started,stopped,failed}
  [[ -z $(docker ps --all --quiet --filter "label=com.docker.compose.project=$project") ]] || return 0
  # Compose makes all volumes that its file names, also those of what was never started.
  docker volume rm --force "${MONITORING_COMPONENTS[@]/#/${project}_}" >/dev/null
  for network in $(docker network ls --quiet --filter "label=com.docker.compose.project=$project"); do
    docker network rm "$network" >/dev/null
  done
}
