# shellcheck shell=bash
# Reads the two databases.

# side_read SIDE FILE [NAME=VALUE|--PSQL_OPTION]…: runs the file of this folder with these variables; prints a line for each
# row. Gives up somewhat after the statement timeout, so that the server reports it.
side_read() {
  local side=$1 sql_file=$ROOT/scripts/compare/$2 item options=() variables=("timeout=$((TIMEOUT_S * 1000))")
  shift 2
  for item in "$@"; do
    if [[ $item == --* ]]; then options+=("$item"); else variables+=("$item"); fi
  done
  {
    for item in "${variables[@]}"; do psql_variable "${item%%=*}" "${item#*=}"; done
    cat "$sql_file"
  } | PSQL_DEADLINE_S=$((TIMEOUT_S + 30)) side_psql "$side" --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
    "${options[@]}" --file=- 2>"$WORK/$side.error"
}

# reader_begin SIDE FILE …: the same in the background, into the file WORK/SIDE. In its own process group, so
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
