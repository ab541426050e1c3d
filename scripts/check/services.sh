# shellcheck shell=bash
# Section 1 where the databases are somebody's own: the services, by their health files.

# services_print FILE…
services_print() {
  local file reason
  heading "Services"
  [[ $# -gt 0 ]] || say "not looked at; name their health files (HEALTH_FILE): --health=FILE"
  for file in "$@"; do
    if [[ -e $file && ! -r $file ]]; then
      reason="cannot be read by $(user_name)"
      finding 3 "$file $reason" "run this as a user who may read it"
    elif [[ ! -e $file ]]; then
      reason="does not exist, or is in a directory that $(user_name) may not search"
      finding 3 "$file $reason" "does the service run, with this HEALTH_FILE?"
    elif reason=$(health_file_is_ok "$file"); then
      reason=ok
    elif [[ $reason == degraded* ]]; then
      finding 1 "$file: $reason" "the service's log"
    else
      finding 2 "$file: $reason" "does the service run? Its log"
    fi
    progress "$file" "$reason"
  done
}
