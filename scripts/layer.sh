# shellcheck shell=bash
# Plain processes or containers: which layer a start uses.

# layer_choose WANTED: loads the layer wanted, else the one used last time (its data is there), else
# containers if they can run, else plain processes; prints which and why.
layer_choose() {
  local wanted=$1 reason
  if [[ -n $wanted ]]; then
    LAYER=$wanted reason="as requested"
    layer_refuse_other "$LAYER"
  elif [[ -f $RUN_DIR/mode ]]; then
    LAYER=$(layer_recorded) reason="as last time"
  elif reason=$(docker_can_run); then
    LAYER=docker
  else
    LAYER=native
  fi
  case $LAYER in
    docker) say "Running as containers: $reason." ;;
    *) say "Running as plain processes: $reason." ;;
  esac
  layer_load "$LAYER"
}

# Stores the layer for later scripts. Only when everything is prepared: a start that failed before that
# does not decide for the next one.
layer_note() { printf '%s\n' "$LAYER" >"$RUN_DIR/mode"; }

# Two sets of components at once would fight for the same ports.
layer_refuse_other() {
  local other
  other=$(layer_recorded)
  [[ -f $RUN_DIR/mode && $1 != "$other" ]] || return 0
  (
    layer_source "$other"
    for component in "${KNOWN_COMPONENTS[@]}"; do
      ! component_is_up "$component" || die "$component already runs with --$other. Stop it first: ./stop-replication.sh"
    done
  ) || exit 1
}

# True if an engine answers and has the images or can pull them in bounded time. Prints the reason
# either way. Without an engine, or with all images present, this takes less than a second.
docker_can_run() {
  local missing
  engine_answers && compose_load || return 1
  mapfile -t missing < <(images_missing)
  [[ ${#missing[@]} -eq 0 ]] || images_pull "${missing[@]}" || return 1
  printf 'a Docker engine is available and has the images'
}
