#!/usr/bin/env bash
# Usage: scripts/test-component.sh start|wipe COMPONENT…
#
# What the fault suite needs of the layer of components: starting what it has killed, and deleting data of
# what it has killed. RUN_DIR and the ports come from the environment; scripts/test-faults.sh sets them.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/start.sh"

main() {
  local what=${1:-} component
  [[ $what != -h && $what != --help ]] || { print_help "$0" && exit; }
  [[ $# -gt 1 ]] || die_usage "Say what to do, and with which components."
  shift
  for component in "$@"; do require_known_component "$component"; done
  settings_load
  layer_load native
  case $what in
    # Its health is not awaited: how long everything takes until it works again is what is measured.
    start) for component in "$@"; do component_start "$component"; done ;;
    wipe) for component in "$@"; do rm -rf "$RUN_DIR/data/$component"; done ;;
    *) die_usage "There is no '$what'." ;;
  esac
}

main "$@"
