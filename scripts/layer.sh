# shellcheck shell=bash
# Plain processes or containers: which layer a start uses.

# layer_choose WANTED: loads the layer wanted, else the one used last time (its data is there), else
# containers where they can run, else plain processes; says which and why, and notes it.
layer_choose() {
  local wanted=$1 layer reason
  if [[ -n $wanted ]]; then
    layer=$wanted reason="as asked"
    layer_refuse_other "$layer"
  elif [[ -f $RUN_DIR/mode ]]; then
    layer=$(layer_recorded) reason="as last time"
  elif reason=$(docker_can_run); then
    layer=docker
  else
    layer=native
  fi
  case $layer in
    docker) say "Running as containers: $reason." ;;
    *) say "Running as plain processes: $reason." ;;
  esac
  printf '%s\n' "$layer" >"$RUN_DIR/mode"
  layer_load "$layer"
}

# Two sets of components at once would fight for the same ports.
layer_refuse_other() {
  local other
  other=$(layer_recorded)
  [[ -f $RUN_DIR/mode && $1 != "$other" ]] || return 0
  (
    layer_load "$other"
    for component in "${ALL_COMPONENTS[@]}"; do
      ! component_is_up "$component" || die "$component runs in the other way (--$other). Stop that first: ./stop-replication.sh"
    done
  ) || exit 1
}

# True if an engine answers and has the images or can pull them in a bounded time. Prints the reason
# either way.
docker_can_run() (
  type -P docker >/dev/null || {
    printf 'Docker is not installed'
    return 1
  }
  source "$ROOT/scripts/docker.sh"
  docker_has_compose || {
    printf 'Docker Compose is not installed'
    return 1
  }
  docker_answers || {
    printf 'no Docker engine answers'
    return 1
  }
  docker_pull_missing "postgres nats service" || return 1
  printf 'a Docker engine answers and has the images'
)
