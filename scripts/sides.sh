# shellcheck shell=bash
# The two databases: those of the demo, or those of two addresses. Needs settings.sh and components.sh.

declare -A ADDRESSES=() # by side, a or b; without any, the sides are components of the demo
declare -A PASSWORDS=() # those that the addresses had

sides_load() {
  if [[ -n ${SOURCE_DATABASE_URL:-} && -n ${TARGET_DATABASE_URL:-} ]]; then
    address_take a "$SOURCE_DATABASE_URL"
    address_take b "$TARGET_DATABASE_URL"
    type -P psql >/dev/null || die "psql is missing: apt-get install postgresql-client"
  elif [[ -n ${SOURCE_DATABASE_URL:-}${TARGET_DATABASE_URL:-} ]]; then
    die_usage "SOURCE_DATABASE_URL and TARGET_DATABASE_URL go together: set both or neither."
  else
    settings_load
    run_dir_require_readable
    layer_load "$(layer_found)"
  fi
}

# address_take SIDE ADDRESS: what psql is started with is seen by everybody on the machine, so a password goes by its
# environment.
address_take() {
  local side=$1 address=$2 password
  if [[ $address =~ ^(postgres(ql)?://[^:/?@]*):([^/?@]*)@(.*)$ ]]; then
    address=${BASH_REMATCH[1]}@${BASH_REMATCH[4]}
    password=${BASH_REMATCH[3]//\\/\\\\}
    PASSWORDS[$side]=$(printf '%b' "${password//%/\\x}")
  elif [[ $address =~ (^|[[:space:]?&])password[[:space:]]*= ]]; then
    die_usage "An address may have a password in the form postgres://user:password@host/database only. Or leave it out, and use PGPASSWORD or PGPASSFILE."
  fi
  ADDRESSES[$side]=$address
}

# Whether they are somebody's own, and not the demo's.
sides_are_own() { [[ ${#ADDRESSES[@]} -gt 0 ]]; }

# side_psql SIDE ARG…: psql in its database, for PSQL_DEADLINE_S seconds at most (60).
side_psql() {
  local side=$1
  shift
  if sides_are_own; then
    PGPASSWORD=${PASSWORDS[$side]-${PGPASSWORD-}} PGCONNECT_TIMEOUT=5 timeout --foreground "${PSQL_DEADLINE_S:-60}" psql --no-psqlrc --no-password --dbname="${ADDRESSES[$side]}" "$@"
  else
    component_psql "postgres-$side" "$@"
  fi
}

# psql_variable NAME VALUE: the line for psql's input that sets a variable of any length. (As an argument of psql, a value
# is limited to 128 KiB.)
psql_variable() {
  local value=$2
  value=${value//\\/\\\\}
  value=${value//\'/\'\'}
  value=${value//$'\n'/\\n}
  printf "\\\\set %s '%s'\n" "$1" "$value"
}
