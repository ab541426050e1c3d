#!/usr/bin/env bash
# Usage: ./logs.sh COMPONENT [--tail=N] [--follow]
#
# Shows the log of one component: postgres-a postgres-b nats-a-1 nats-a-2 nats-a-3 nats-b-1 nats-b-2
# nats-b-3 data-generator outbox-publisher inbox-processor
#
#   --tail=N   show the last N lines (100)
#   --follow   keep printing new lines, until Ctrl-C
#
# Exit status: 0 shown; 1 no log; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"

parse_arguments() {
  COMPONENT='' LINES_WANTED=100 FOLLOW=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --follow) FOLLOW=follow ;;
      --tail=*)
        LINES_WANTED=${1#--tail=}
        [[ $LINES_WANTED =~ ^[0-9]+$ ]] || die_usage "--tail takes a number of lines, not '$LINES_WANTED'."
        ;;
      -*) die_usage "There is no option '$1'." ;;
      *)
        [[ -z $COMPONENT ]] || die_usage "One component at a time: '$COMPONENT' or '$1'?"
        require_known_component "$1"
        COMPONENT=$1
        ;;
    esac
    shift
  done
  [[ -n $COMPONENT ]] || die_usage "Name a component: ${KNOWN_COMPONENTS[*]}."
}

main() {
  parse_arguments "$@"
  settings_load
  layer_load "$(layer_found)"
  component_logs "$COMPONENT" "$LINES_WANTED" $FOLLOW
}

main "$@"
