# shellcheck shell=bash
# The PostgreSQL servers as plain processes. PostgreSQL refuses to run as root: there it runs as user
# postgres, with its data where that user can reach it.

readonly POSTGRES_OLDEST_MAJOR=15

# Prints the directory of the server programs: POSTGRES_A_BIN or POSTGRES_B_BIN; else those that fit existing data, else
# the newest ones. False if there are none, or if the data is another version's.
postgres_bin() {
  local version=$RUN_DIR/data/$1/pgdata/PG_VERSION directory major candidates
  mapfile -t candidates < <(postgres_bin_candidates "$1")
  for directory in "${candidates[@]}"; do
    postgres_programs_are_in "$directory" || continue
    major=$(postgres_major "$directory") || continue
    ((major >= POSTGRES_OLDEST_MAJOR)) || continue
    [[ ! -f $version || $(<"$version") == "$major" ]] || continue
    printf '%s' "$directory"
    return 0
  done
  return 1
}

postgres_bin_candidates() {
  local chosen
  chosen=$(postgres_bin_chosen "$1")
  if [[ -n $chosen ]]; then
    # Without the links in its path, which user postgres may not be able to follow.
    readlink --canonicalize-missing "$chosen"
    return
  fi
  { compgen -G '/usr/lib/postgresql/*/bin' || true; } | sort --version-sort --reverse
  { type -P initdb || true; } | xargs --no-run-if-empty dirname
}

# The setting of this server's programs; empty where there is none.
postgres_bin_chosen() {
  local variable
  variable=$(component_variable "$1")_BIN
  printf '%s' "${!variable:-}"
}

postgres_programs_are_in() { [[ -x $1/initdb && -x $1/postgres && -x $1/psql ]]; }

postgres_major() { [[ $("$1/postgres" --version 2>/dev/null) =~ \(PostgreSQL\)\ ([0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"; }

# Ends the script where a server's programs are set, and cannot be used.
postgres_bin_chosen_require() {
  local variable chosen directory major remedy="Fetch servers with scripts/install-servers.sh, or leave the setting empty."
  variable=$(component_variable "$1")_BIN chosen=${!variable:-}
  [[ -n $chosen ]] || return 0
  postgres_programs_are_in "$chosen" \
    || die "$variable is '$chosen'; allowed is a directory with PostgreSQL's programs postgres, initdb and psql. $remedy"
  major=$(postgres_major "$chosen") \
    || die "$variable is '$chosen', and $chosen/postgres does not run: $("$chosen/postgres" --version 2>&1 | head -n 1). $remedy"
  ((major >= POSTGRES_OLDEST_MAJOR)) \
    || die "$variable is '$chosen', which has PostgreSQL $major; allowed is $POSTGRES_OLDEST_MAJOR or newer. $remedy"
  postgres_owner_load
  directory=$(readlink --canonicalize "$chosen")
  (cd / && postgres_as_owner "$directory/postgres" --version >/dev/null 2>&1) \
    || die "$variable is '$chosen', and user postgres, as whom PostgreSQL runs, cannot run $directory/postgres. Make every directory of that path accessible to others, or fetch the server with scripts/install-servers.sh, which sees to that."
}

# Runs a command as the user who owns the data: postgres if we are root, else ourselves.
postgres_as_owner() { "${POSTGRES_AS_OWNER[@]}" "$@"; }

postgres_owner_load() {
  POSTGRES_AS_OWNER=()
  [[ $EUID -eq 0 ]] || return 0
  id postgres >/dev/null 2>&1 \
    || die "PostgreSQL refuses to run as root, and there is no user postgres. Create one: adduser --system --group postgres"
  POSTGRES_AS_OWNER=(setpriv --reuid=postgres --regid=postgres --init-groups --)
}

postgres_start() {
  local component=$1 pgdata=$RUN_DIR/data/$1/pgdata bin
  postgres_owner_load
  bin=$(postgres_bin "$component") \
    || die "$(postgres_bin_missing "$component")"
  [[ -f $pgdata/PG_VERSION ]] || postgres_create "$component" "$bin"
  pgdata=$(readlink --canonicalize "$pgdata")
  postgres_await_predecessor "$pgdata"
  postgres_namesake_load "$pgdata"
  postgres_libraries_load "$bin"
  postgres_tls_load "$component" "$pgdata"
  # All settings are here, so that a change takes effect at the next start.
  process_start "$component" "${NAMESAKE[@]}" "${POSTGRES_AS_OWNER[@]}" "${LIBRARIES[@]}" "$bin/postgres" \
    -D "$pgdata" \
    -p "$(component_port "$component" PORT)" \
    -c "cluster_name=$component" \
    -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= \
    -c "max_connections=$POSTGRES_MAX_CONNECTIONS" \
    -c timezone=UTC -c log_timezone=UTC \
    -c lc_messages=C \
    -c 'log_line_prefix=%m [%p] %q%u@%d/%a ' "${TLS[@]}"
}

# With TLS: the server takes a key only that is its own user's.
postgres_tls_load() {
  local component=$1 pgdata=$2 owner=()
  TLS=()
  tls_is_on || return 0
  [[ $EUID -ne 0 ]] || owner=(--owner=postgres --group=postgres)
  install "${owner[@]}" --mode=600 "$(tls_directory)/$component.key" "$pgdata/server.key"
  install "${owner[@]}" --mode=644 "$(tls_directory)/$component.crt" "$pgdata/server.crt"
  TLS=(-c ssl=on)
}

# A server that brings a libpq along follows another server with that one, and not with an older one of the machine, which
# would not understand what its own pg_basebackup writes.
postgres_libraries_load() {
  local own=${1%/bin}/lib
  LIBRARIES=()
  [[ ! -e $own/libpq.so.5 ]] || LIBRARIES=(env "LD_LIBRARY_PATH=$own")
}

postgres_bin_missing() {
  local variable version=$RUN_DIR/data/$1/pgdata/PG_VERSION purge="delete the data: ./stop-replication.sh --purge $1"
  variable=$(component_variable "$1")_BIN
  if [[ -n ${!variable:-} && -f $version ]]; then
    printf '%s' "The data of $1 belongs to PostgreSQL $(<"$version"), and $variable is '${!variable}', another version. Set it to the directory of that version's programs, or $purge"
  elif [[ -f $version ]]; then
    printf '%s' "The data of $1 belongs to PostgreSQL $(<"$version"), which is not installed. Install that version, or $purge"
  else
    printf '%s' "The programs of PostgreSQL for $1 are missing. Run ./start-replication.sh, which installs them, or see $variable in .env.example."
  fi
}

# The remains of a killed server keep its data locked for a moment, and PostgreSQL would refuse to
# start: the zombie until init reaps it, sessions until their query ends.
postgres_await_predecessor() {
  local pgdata=$1 pid tries
  [[ -f $pgdata/postmaster.pid ]] || return 0
  read -r pid <"$pgdata/postmaster.pid"
  for ((tries = 0; tries < 200; tries++)); do
    process_is_zombie "$pid" || postgres_works_in "$pgdata" || return 0
    sleep 0.1
  done
}

# After a power cut, the process id in postmaster.pid may be that of any other process by now, and PostgreSQL, which sees
# that it is alive, would refuse to start. No process works in the data directory (postgres_await_predecessor), so it is no
# server of these data: PostgreSQL is told to take that id for one of its own ancestors'. It still refuses while the shared
# memory of a predecessor is in use.
postgres_namesake_load() {
  local pgdata=$1 pid
  NAMESAKE=()
  [[ -f $pgdata/postmaster.pid ]] && read -r pid <"$pgdata/postmaster.pid" && [[ $pid =~ ^[1-9][0-9]*$ && -e /proc/$pid ]] || return 0
  ! postgres_works_in "$pgdata" || return 0
  NAMESAKE=(env "PG_GRANDPARENT_PID=$pid")
}

postgres_works_in() { [[ -n $(find /proc/[0-9]*/cwd -lname "$1" -print -quit 2>/dev/null) ]]; }

# Creates a server's data, with the database `transactions`. It gets its name when it is complete, so
# that the remains of an interrupted run are never taken for a server's data.
postgres_create() {
  local component=$1 bin=$2 directory log=$RUN_DIR/log/$1.log
  postgres_directory_make "$component"
  directory=$(readlink --canonicalize "$RUN_DIR/data/$component")
  rm -rf "$directory/unfinished"
  postgres_initdb "$bin" "$directory/unfinished" >>"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    die "initdb of $component failed; its full output is in $log"
  }
  mv "$directory/unfinished" "$directory/pgdata"
}

postgres_initdb() {
  postgres_cluster_make "$1" "$2" && postgres_single "$1" "$2" <<<'create database transactions'
}

# postgres_cluster_make BIN DIRECTORY [OPTION…]
postgres_cluster_make() (
  bin=$1 pgdata=$2
  shift 2
  cd /
  umask 077
  password_file=$(mktemp)
  trap 'rm -f "$password_file"' EXIT
  printf '%s\n' "$POSTGRES_PASSWORD" >"$password_file"
  [[ $EUID -ne 0 ]] || chown postgres "$password_file"
  postgres_as_owner "$bin/initdb" --pgdata="$pgdata" --username=postgres --pwfile="$password_file" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions "$@"
)

# Runs the SQL of stdin, and prints what the server says. Its exit status is 0 even where a statement fails.
postgres_single() {
  local output
  output=$(postgres_as_owner "$1/postgres" --single -D "$2" postgres 2>&1) || { printf '%s\n' "$output" && return 1; }
  printf '%s\n' "$output"
  ! grep --quiet --extended-regexp '(ERROR|FATAL|PANIC):' <<<"$output"
}

# Makes RUN_DIR/data/<component>: a directory or, where user postgres cannot reach that (a checkout
# in root's home), a link to a directory that it can.
postgres_directory_make() {
  local directory=$RUN_DIR/data/$1 elsewhere
  mkdir -p "$RUN_DIR/data"
  install --directory --mode=700 "$RUN_DIR/log"
  [[ ! -L $directory ]] || postgres_elsewhere_make "$(readlink "$directory")"
  mkdir -p "$directory"
  [[ $EUID -eq 0 ]] || return 0
  chown postgres:postgres "$directory/"
  ! postgres_as_owner test -w "$directory" || return 0
  elsewhere=$(postgres_elsewhere)/$1
  rmdir "$directory"
  postgres_elsewhere_make "$elsewhere"
  ln -s "$elsewhere" "$directory"
}

postgres_elsewhere() {
  printf '/var/lib/postgresql/replication-%s' "$(printf '%s' "$RUN_DIR" | sha256sum | cut --characters=1-12)"
}

# Whatever the umask, user postgres must be able to get there.
postgres_elsewhere_make() {
  [[ -d ${1%/*/*} ]] || install --directory --mode=755 "${1%/*/*}"
  install --directory --mode=755 "${1%/*}"
  install --directory --mode=700 --owner=postgres --group=postgres "$1"
}

# A fast shutdown: it terminates open sessions, so that a forgotten psql does not block it.
postgres_stop() { process_stop "$1" INT 60; }

postgres_healthy() {
  local answer
  answer=$(postgres_psql "$1" --command='select 1' 2>&1) || {
    answer=${answer%%$'\n'*}
    printf 'not answering: %s\n' "${answer##*: }"
    return 1
  }
}

# Bounded, in case a server accepts the connection and then hangs.
postgres_psql() {
  local component=$1 tls=()
  shift
  ! tls_is_on || tls=(PGSSLMODE=verify-full "PGSSLROOTCERT=$(tls_directory)/ca.crt")
  env "${tls[@]}" PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=3 timeout --foreground "${PSQL_DEADLINE_S:-60}" "$(postgres_bin "$component")/psql" --no-psqlrc \
    --host=127.0.0.1 --port="$(component_port "$component" PORT)" \
    --username=postgres --dbname=transactions "$@"
}

postgres_purge() {
  local directory=$RUN_DIR/data/$1 elsewhere
  if [[ -L $directory ]]; then
    elsewhere=$(readlink "$directory")
    rm -rf "$elsewhere"
    rmdir --ignore-fail-on-non-empty "${elsewhere%/*}"
  fi
  rm -rf "$directory"
}
