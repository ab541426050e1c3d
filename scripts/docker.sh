# shellcheck shell=bash
# The component layer for containers: the functions that components.sh describes. A component is the
# container of the same name in docker-compose.yml.

readonly DOCKER_PROJECT=transaction-replication
readonly DOCKER_IMAGE=transaction-replication # of the three services
readonly DOCKER_ANSWER_S=5
readonly DOCKER_PULL_S=300

# Docker Compose v2 where it is installed, else docker-compose 1.29.
docker_compose() {
  local compose=(docker-compose)
  ! docker compose version >/dev/null 2>&1 || compose=(docker compose)
  "${compose[@]}" --project-name "$DOCKER_PROJECT" --project-directory "$ROOT" \
    --file "$ROOT/docker-compose.yml" "$@"
}

docker_has_compose() { docker compose version >/dev/null 2>&1 || type -P docker-compose >/dev/null; }
docker_answers() { timeout "$DOCKER_ANSWER_S" docker info >/dev/null 2>&1; }
docker_has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# The images that must be here before the given kinds of components can start: those of the compose
# file, and what ours is built from.
docker_images() {
  local kinds=$1
  [[ $kinds != *postgres* && $kinds != *nats* ]] \
    || sed --quiet --regexp-extended 's/^ +image: ((postgres|nats):.*)$/\1/p' "$ROOT/docker-compose.yml"
  [[ $kinds != *service* ]] || docker_has_image "$DOCKER_IMAGE" \
    || sed --quiet --regexp-extended 's/^FROM ([^ ]+).*$/\1/p' "$ROOT/Dockerfile"
}

# Pulls what is missing, in bounded time. Prints what cannot be had, if anything.
docker_pull_missing() {
  local image
  for image in $(docker_images "$1"); do
    docker_has_image "$image" || timeout "$DOCKER_PULL_S" docker pull --quiet "$image" >/dev/null 2>&1 || {
      printf 'the image %s is not here and cannot be pulled' "$image"
      return 1
    }
  done
}

layer_prepare() {
  local component kinds='' missing
  type -P docker >/dev/null || die "docker is missing. Install Docker, or run as plain processes: ./start-replication.sh --native"
  docker_has_compose || die "Neither 'docker compose' nor docker-compose is installed. Install one, or use --native."
  docker_answers || die "No Docker engine answers. Start it, or run as plain processes: ./start-replication.sh --native"
  for component in "$@"; do kinds+=" $(component_kind "$component")"; done
  heading "Preparing the images"
  missing=$(docker_pull_missing "$kinds") || die "Nothing was started: $missing. Pull it, or use --native."
  [[ $kinds != *service* ]] || docker_compose build data-generator \
    || die "The image of the services could not be built: the reason is above. Nothing was started."
}

layer_log_hint() { printf './logs.sh %s' "$1"; }

component_ports() {
  local name
  name=$(component_variable "$1")
  case $(component_kind "$1") in
    postgres) printf '%s\n' "${name}_PORT" ;;
    nats) printf '%s\n' "$name"_{,MONITOR_}PORT ;;
  esac
}

component_start() {
  docker_compose up --detach --no-deps --no-build "$1" >/dev/null 2>&1 || {
    docker_compose up --detach --no-deps --no-build "$1"
    return 1
  }
  stopped_on_purpose_forget "$1"
}

component_stop() {
  ! docker_field "$1" .State.Status >/dev/null || docker stop "$1" >/dev/null
}

# docker_field COMPONENT FIELD: one field of what the engine knows of the container.
docker_field() { docker inspect --type container --format "{{$2}}" "$1" 2>/dev/null; }

component_healthy() {
  local status health
  status=$(docker_field "$1" .State.Status) || {
    printf 'it has no container\n'
    return 1
  }
  [[ $status == running ]] || {
    printf 'its container is %s\n' "$status"
    return 1
  }
  health=$(docker_field "$1" .State.Health.Status)
  [[ $health == healthy ]] && return 0
  # What the last health check printed: of our services, their own words.
  docker inspect --format '{{range .State.Health.Log}}{{println .Output}}{{end}}' "$1" | grep . | tail --lines=1 \
    || printf 'its health check says: %s\n' "$health"
  return 1
}

component_state() {
  local status started restarts state since=-
  if ! status=$(docker_field "$1" .State.Status); then
    printf 'absent - 0\n'
    return
  fi
  started=$(docker_field "$1" .State.StartedAt)
  restarts=$(docker_field "$1" .RestartCount)
  case $status in
    running | paused | restarting) state=up since=$(date --date="$started" +%s) ;;
    *) if was_stopped_on_purpose "$1"; then state=stopped; else state=died; fi ;;
  esac
  printf '%s %s %s\n' "$state" "$since" "$restarts"
}

component_logs() { docker logs --tail="$2" ${3:+--follow} "$1" 2>&1; }

component_psql() {
  local component=$1
  shift
  timeout 60 docker exec --interactive "$component" psql --no-psqlrc --username=postgres --dbname=transactions "$@"
}

# With the last component go the networks.
component_purge() {
  docker rm --force --volumes "$1" >/dev/null 2>&1 || true
  docker volume rm "${DOCKER_PROJECT}_$1" >/dev/null 2>&1 || true
  rm -f "$RUN_DIR/$1.stopped"
  [[ -n $(docker ps --all --quiet --filter "label=com.docker.compose.project=$DOCKER_PROJECT") ]] \
    || docker network rm "$DOCKER_PROJECT"_{zone-a,zone-b,gateways} >/dev/null 2>&1 || true
}
