# shellcheck shell=bash
# Whether containers can run on this machine: the engine, Compose, and the images.

readonly ENGINE_DEADLINE_S=5
readonly PULL_DEADLINE_S=120 # for all images together
readonly SERVICES_IMAGE=transaction-replication

# False, with the reason printed, if no engine answers.
engine_answers() {
  local answer
  if ! type -P docker >/dev/null; then
    printf 'this machine has no docker command'
    return 1
  fi
  answer=$(timeout "$ENGINE_DEADLINE_S" docker version --format '{{.Server.Version}}' 2>&1) && return 0
  answer=${answer##*$'\n'}
  printf 'no Docker engine answers (%s)' "${answer:-"no answer within $ENGINE_DEADLINE_S s"}"
  return 1
}

# Sets COMPOSE to the command for version 2 or, without it, 1.29. False, with the reason printed, if
# there is neither.
# shellcheck disable=SC2034 # docker.sh uses it
compose_load() {
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif type -P docker-compose >/dev/null; then
    COMPOSE=(docker-compose)
  else
    printf 'a Docker engine answers, but neither "docker compose" nor docker-compose is installed'
    return 1
  fi
}

# The name that Compose itself would choose, so that commands typed by hand find the same containers.
compose_project() {
  local name=${COMPOSE_PROJECT_NAME:-${ROOT##*/}}
  name=${name,,}
  [[ ${name//[^-_a-z0-9]/} =~ ^[-_]*(.*)$ ]]
  printf '%s' "${BASH_REMATCH[1]}"
}

# Lines "NAME PROJECT FOLDER", the latter two from the labels that Compose sets.
containers_list() {
  timeout "$ENGINE_DEADLINE_S" docker container ls --all \
    --format '{{.Names}} {{with .Label "com.docker.compose.project"}}{{.}}{{else}}-{{end}} {{.Label "com.docker.compose.project.working_dir"}}'
}

# container_is_ours PROJECT FOLDER: whether a container with these labels belongs to this checkout.
container_is_ours() { [[ $1 == "$(compose_project)" && $2 -ef $ROOT ]]; }

# True if there are containers of this checkout, however they were started. Another RUN_DIR means another system, unless it
# has a project of its own.
project_has_containers() {
  local name project folder
  [[ $RUN_DIR == "$ROOT/.run" || -n ${COMPOSE_PROJECT_NAME:-} ]] && type -P docker >/dev/null || return 1
  while read -r name project folder; do
    ! component_is_known "$name" || ! container_is_ours "$project" "$folder" || return 0
  done < <(containers_list 2>/dev/null)
  return 1
}

image_is_here() { docker image inspect "$1" >/dev/null 2>&1; }

# The official images that docker-compose.yml or the Dockerfile names. The one of the services has no tag, and is left out;
# those of others, as prom/prometheus, are of the monitoring.
images_of() {
  sed --quiet --regexp-extended 's/^(FROM|[[:space:]]*image:) ([^[:space:]/]+:[^[:space:]]+).*/\2/p' "$ROOT/$1"
}
images_of_monitoring() {
  sed --quiet --regexp-extended 's/^[[:space:]]*image: ([^[:space:]]+\/[^[:space:]]+:[^[:space:]]+).*/\1/p' "$ROOT/docker-compose.yml"
}

# The images that are needed and missing: those of PostgreSQL and NATS and, unless the one of the services
# exists already, those that it is built from.
images_missing() {
  local image
  for image in $(images_of docker-compose.yml) $(image_is_here "$SERVICES_IMAGE" || images_of Dockerfile); do
    image_is_here "$image" || printf '%s\n' "$image"
  done
}

# False, with the reason printed, if not all of them can be pulled in time.
images_pull() {
  local image answer status=0 left_s deadline_s=$((EPOCHSECONDS + PULL_DEADLINE_S))
  for image in "$@"; do
    left_s=$((deadline_s - EPOCHSECONDS))
    printf '  Pulling %s, for up to %d s\n' "$image" "$((left_s > 0 ? left_s : 1))" >&2
    answer=$(timeout "$((left_s > 0 ? left_s : 1))" docker pull --quiet "$image" 2>&1 </dev/null) || status=$?
    case $status in
      0) ;;
      124)
        printf 'the images were not pulled within %d s; pull them first: docker pull %s' "$PULL_DEADLINE_S" "$image"
        return 1
        ;;
      *)
        printf 'the images (%s) are missing and cannot be pulled (%s)' "$*" "${answer##*$'\n'}"
        return 1
        ;;
    esac
  done
}
