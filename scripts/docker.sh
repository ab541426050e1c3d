# shellcheck shell=bash
# The component layer for containers: the functions that components.sh describes. A container has
# its component's name. docker-compose.yml says how it is made, and Compose makes and starts it;
# everything else is asked of the engine itself.
#
#   RUN_DIR/<component>.started   it was started, and not stopped since: if it is down, it died

layer_require() {
  local reason
  reason=$(engine_answers) || die "Containers cannot run or be asked: $reason. See that an engine runs and that you may use it: docker version. As plain processes: ./start-replication.sh --native"
  containers_refuse_foreign
}

# A container has its component's name, whoever made it: another system's must not be taken for ours, or be purged.
containers_refuse_foreign() {
  local list name project folder
  list=$(containers_list) || die "The Docker engine does not say whose containers there are: docker container ls --all"
  while read -r name project folder; do
    ! component_is_known "$name" || container_is_ours "$project" "$folder" \
      || die "The container $name belongs to another system (Compose project '$project' of the folder '$folder'; ours is '$(compose_project)' of '$ROOT'), and names are fixed. Remove it there first: docker rm $name"
  done <<<"$list"
}

layer_prepare() {
  local reason component kinds=''
  reason=$(docker_can_run) \
    || die "Containers cannot run here: $reason. Nothing was started. As plain processes: ./start-replication.sh --native"
  compose_load
  for component in "$@"; do kinds+=" $(component_kind "$component")"; done
  [[ $kinds != *service* ]] || image_of_services_build
}

# Without what it is built from, an image that is here is used as it is.
image_of_services_build() {
  local image
  for image in $(images_of Dockerfile); do
    image_is_here "$image" || {
      say "The image $SERVICES_IMAGE is used as it is: without $image it cannot be built again."
      return 0
    }
  done
  heading "Building the image of the services ($SERVICES_IMAGE)"
  compose build inbox-processor \
    || die "The build failed: its last messages are above. Nothing was started. As plain processes: ./start-replication.sh --native"
}

# settings.sh has read and exported what .env says. Compose's own look into it is turned to the file of
# defaults, so that ENV_FILE holds here too.
compose() {
  "${COMPOSE[@]}" --file "$ROOT/docker-compose.yml" --env-file "$ROOT/.env.example" \
    --project-directory "$ROOT" --project-name "$(compose_project)" "$@"
}

layer_log_hint() { printf 'docker logs %s' "$1"; }

# Clusters and gateways talk inside Docker's networks.
component_ports() {
  local name
  name=$(component_variable "$1")
  case $(component_kind "$1") in
    postgres) printf '%s\n' "${name}_PORT" ;;
    nats) printf '%s\n' "$name"_{,MONITOR_}PORT ;;
  esac
}

component_start() {
  local output
  if ! component_is_up "$1"; then
    output=$(compose up --detach --no-deps --no-build "$1" 2>&1 </dev/null) || {
      error "Docker did not start $1:"
      printf '%s\n' "$output" | sed 's/^/  | /' >&2
      return 1
    }
  fi
  : >"$RUN_DIR/$1.started"
  stopped_on_purpose_forget "$1"
}

# The deadlines are those of plain processes. PostgreSQL's image asks for SIGINT, a fast stop.
component_stop() {
  local deadline_s=30
  [[ $(component_kind "$1") != postgres ]] || deadline_s=60
  rm -f "$RUN_DIR/$1.started"
  ! container_exists "$1" || docker stop --time "$deadline_s" "$1" >/dev/null
}

container_exists() { docker container inspect "$1" >/dev/null 2>&1; }

# A container that Docker is about to start again counts as died.
# Docker's restart policy watches.
layer_watch() { :; }
layer_unwatch() { :; }
layer_watch_problem() { :; }

component_state() {
  local component=$1 state status='' since=- restarts=0
  read -r status since restarts < <(docker container inspect \
    --format '{{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}' "$component" 2>/dev/null) || true
  if [[ $status == running || $status == paused ]]; then
    state=up since=$(date --date="$since" +%s)
  elif [[ $status == restarting || -e $RUN_DIR/$component.started ]]; then
    state=died
  elif [[ -n $status ]] || was_stopped_on_purpose "$component"; then
    state=stopped
  else
    state=absent
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
      printf 'it is paused; go on with: docker unpause %s\n' "$1"
      return 1
      ;;
    *)
      printf 'it does not run\n'
      return 1
      ;;
  esac
}

# Asked now, by what the container's own health check asks every few seconds.
container_postgres_healthy() {
  local answer
  answer=$(component_psql "$1" --command='select 1' 2>&1 </dev/null) || {
    answer=${answer##*: } answer=${answer# }
    # The image takes what an interrupted first start left behind for a server's data.
    [[ $answer != *'"transactions" does not exist'* ]] \
      || answer+=": its first start was interrupted; begin again: ./stop-replication.sh --purge $1"
    printf '%s\n' "$answer" | head -n 1
    return 1
  }
}

container_nats_healthy() {
  local answer
  answer=$(nats_page "$1" '/healthz?js-enabled-only=true') && return 0
  printf 'its monitoring page does not say ok: %s\n' "$answer"
  return 1
}

container_service_healthy() {
  local answer
  answer=$(timeout 10 docker exec "$1" "$1" health 2>&1 </dev/null) && return 0
  printf '%s\n' "${answer:-it does not answer}" | head -n 1
  return 1
}

component_logs() {
  local lines=$2 follow=${3:+--follow}
  container_exists "$1" || die "$1 has no log yet: it was never started. Start it: ./start-replication.sh $1"
  docker logs --tail "$lines" ${follow:+"$follow"} "$1" 2>&1
}

# By TCP, where it says whether the server takes connections from others.
component_psql() {
  local component=$1
  shift
  PGPASSWORD=$POSTGRES_PASSWORD PGCONNECT_TIMEOUT=3 timeout --foreground "${PSQL_DEADLINE_S:-60}" \
    docker exec --interactive --env PGPASSWORD --env PGCONNECT_TIMEOUT "$component" psql --no-psqlrc \
    --host=127.0.0.1 --username=postgres --dbname=transactions "$@"
}

component_disk_free() {
  timeout 5 docker exec "$1" df -P -B 1 /var/lib/postgresql/data 2>/dev/null </dev/null | awk 'NR == 2 { print $4 }' || true
}

# With the last container its networks go, too.
component_purge() {
  local project network
  project=$(compose_project)
  ! container_exists "$1" || docker rm --force --volumes "$1" >/dev/null
  docker volume rm --force "${project}_$1" >/dev/null
  rm -f "$RUN_DIR/$1".{started,stopped}
  [[ -z $(docker ps --all --quiet --filter "label=com.docker.compose.project=$project") ]] || return 0
  for network in $(docker network ls --quiet --filter "label=com.docker.compose.project=$project"); do
    docker network rm "$network" >/dev/null
  done
}
