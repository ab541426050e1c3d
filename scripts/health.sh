# shellcheck shell=bash
# The health files of services: `ok`, `ok (<what is paused>)` or `degraded: <reason>`, written every second.

HEALTH_MAX_AGE_S=5

# True if the file says that its service is healthy; otherwise prints why not, in one line.
health_file_is_ok() {
  local file=$1 line='' age_s
  [[ -e $file ]] || {
    printf 'no health report yet\n'
    return 1
  }
  age_s=$((EPOCHSECONDS - $(stat --format=%Y "$file")))
  IFS= read -r line <"$file" || true
  if ((age_s >= HEALTH_MAX_AGE_S)); then
    printf 'no health report for %d s (last: %s)\n' "$age_s" "$line"
    return 1
  fi
  [[ $line == ok || $line == 'ok ('* ]] && return 0
  printf '%s\n' "${line:-empty health report}"
  return 1
}
