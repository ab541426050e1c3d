# shellcheck shell=bash
# The two databases: those of the demo, or those of two addresses.

# Sets ADDRESSES by side; without any, the sides are components of the demo.
sides_load() {
  declare -gA ADDRESSES=()
  if [[ -n ${SOURCE_DATABASE_URL:-} && -n ${TARGET_DATABASE_URL:-} ]]; then
    ADDRESSES=([a]=$SOURCE_DATABASE_URL [b]=$TARGET_DATABASE_URL)
    type -P psql >/dev/null || die "psql is missing: apt-get install postgresql-client"
  elif [[ -n ${SOURCE_DATABASE_URL:-}${TARGET_DATABASE_URL:-} ]]; then
    die_usage "SOURCE_DATABASE_URL and TARGET_DATABASE_URL go together: set both or neither."
  else
    settings_load
    layer_load "$(layer_found)"
  fi
}

# side_read SIDE FILE [PSQL_ARGUMENT…]: runs the file of this folder; prints a line for each row.
side_read() {
  local side=$1 sql_file=$ROOT/scripts/compare/$2
  shift 2
  side_psql "$side" --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --set=timeout="$((TIMEOUT_S * 1000))" "$@" --file=- <"$sql_file" 2>"$WORK/$side.error"
}

# Somewhat longer than the statement timeout, so that the server reports it.
side_psql() {
  local side=$1 deadline_s=$((TIMEOUT_S + 30))
  shift
  if [[ -n ${ADDRESSES[$side]:-} ]]; then
    PGCONNECT_TIMEOUT=5 timeout --foreground "$deadline_s" psql --no-psqlrc --no-password --dbname="${ADDRESSES[$side]}" "$@"
  else
    PSQL_DEADLINE_S=$deadline_s component_psql "postgres-$side" "$@"
  fi
}

# reader_begin SIDE FILE [PSQL_ARGUMENT…]: the same in the background, into the file WORK/SIDE. In its own process group, so
# that all of it can be ended.
reader_begin() {
  : >"$WORK/$1"
  set -m
  side_read "$@" >"$WORK/$1" &
  READER=$!
  set +m
}

reader_runs() { kill -0 "$READER" 2>/dev/null; }

# True if it ended well.
reader_wait() {
  local status=0
  wait "$READER" || status=$?
  READER=''
  return "$status"
}

reader_end() {
  [[ -n ${READER:-} ]] || return 0
  kill -- "-$READER" 2>/dev/null || true
  reader_wait 2>/dev/null || true
}

# The first error of a side in the last reading.
side_error() {
  local line
  line=$(grep --max-count=1 --extended-regexp 'ERROR|FATAL|error:' "$WORK/$1.error" || head --lines=1 "$WORK/$1.error")
  line=${line#psql:*: }
  printf '%s' "${line:-no answer in time}"
}
