#!/usr/bin/env bash
# The stand-in's docker-entrypoint.sh: what the official image of PostgreSQL does, as far as this
# project relies on it. For testing only.
set -euo pipefail

become_postgres() {
  mkdir -p "$PGDATA" /var/run/postgresql
  find "$PGDATA" ! -user postgres -exec chown postgres '{}' +
  chown postgres:postgres /var/run/postgresql
  chmod 0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
}

database_create() {
  local initdb_args
  if [[ -z ${POSTGRES_PASSWORD:-} ]]; then
    printf 'Error: Database is uninitialized and superuser password is not specified.\n' >&2
    exit 1
  fi
  read -r -a initdb_args <<<"${POSTGRES_INITDB_ARGS:-}"
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${initdb_args[@]}"
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  # As in the sample file of the official image.
  printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
}

# By its socket only: nobody else takes the server for a finished one.
temporary_server_start() {
  [[ $1 != postgres ]] || shift
  pg_ctl --pgdata="$PGDATA" --wait --options="$(printf '%q ' "$@" -c listen_addresses= -p 5432)" start
}

database_fill() {
  local file sql=(psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --no-password)
  if [[ $POSTGRES_DB != postgres ]]; then
    "${sql[@]}" --dbname=postgres --set=db="$POSTGRES_DB" <<<'create database :"db"'
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) "$file" ;;
      *.sql) "${sql[@]}" --dbname="$POSTGRES_DB" --file="$file" ;;
      *.sql.gz) gunzip --stdout "$file" | "${sql[@]}" --dbname="$POSTGRES_DB" ;;
    esac
  done
}

main() {
  [[ ${1:-} != -* ]] || set -- postgres "$@"
  if [[ ${1:-} == postgres ]]; then
    export POSTGRES_USER=${POSTGRES_USER:-postgres}
    export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
    [[ $EUID -ne 0 ]] || become_postgres "$@"
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
      database_create
      temporary_server_start "$@"
      database_fill
      pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
      printf '\nPostgreSQL init process complete; ready for start up.\n\n'
    fi
  fi
  exec "$@"
}

main "$@"
