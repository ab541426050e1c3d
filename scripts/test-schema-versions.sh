#!/usr/bin/env bash
# Usage: scripts/test-schema-versions.sh [--commit COMMIT]… [SERVER…]        (postgres-15 postgres-17 postgres-18)
#
# Every version of the SQL objects that the history of this branch has, each with data in it, is brought to the newest
# one by the services, on each of these servers: rows that were captured before are there, what is captured afterwards
# is, and the audit finds nothing. (--commit: of these versions only.) Needs the history (not a shallow clone) and services that are built. A step of
# test-matrix.sh. TEST_PORT_OFFSET moves its port. Exit status: 0 all is well; 1 a version could not be brought up.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/servers.sh"

readonly PORT=$((5432 + ${TEST_PORT_OFFSET:-400} + 390)) NAME=schema_versions
# Of which no release is: its numbered file 063 was changed by the commit after it.
readonly NEVER_RELEASED=f55b0c5
readonly FILES=(shared/src/schema/files.rs shared/src/schema.rs)

parse_arguments() {
  COMMITS=() SERVERS_TRIED=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --commit)
        COMMITS+=("${2:?a commit}")
        shift
        ;;
      postgres-[0-9]*) SERVERS_TRIED+=("$1") ;;
      *) die_usage "There is no server '$1'. Say a version, as in postgres-17." ;;
    esac
    shift
  done
  [[ ${#SERVERS_TRIED[@]} -gt 0 ]] || SERVERS_TRIED=(postgres-15 postgres-17 postgres-18)
}

# Sets COMMITS to those after which the SQL of either side was another one.
commits_load() {
  local commit former='' present
  COMMITS=()
  while read -r commit; do
    present=$(git rev-parse "$commit:schema/source" "$commit:schema/target" "$commit:schema/common" 2>/dev/null) || continue
    [[ $present == "$former" || $commit == "$NEVER_RELEASED"* ]] || COMMITS+=("$commit")
    former=$present
  done < <(git log --first-parent --reverse --format=%h -- schema)
}

# list_of COMMIT NAME: prints the entries of one of the lists of SQL files as they were then.
list_of() {
  local file
  for file in "${FILES[@]}"; do
    git show "$1:$file" 2>/dev/null | tr '\n' ' ' | grep --only-matching --perl-regexp "const $2: [^=]*= *\w+!\[\K[^]]*" && return
  done || true
}

# revision_of COMMIT SIDE: the version of the files that can be applied again; empty before there were such.
revision_of() {
  local file
  for file in "${FILES[@]}"; do
    git show "$1:$file" 2>/dev/null | grep --max-count=1 --only-matching --perl-regexp "Side::${2^} => \K\d+(?=,)" && return
  done || true
}

# schema_of COMMIT SIDE: prints the SQL that made a database of then.
schema_of() {
  local commit=$1 side=$2 version path revision part
  cat <<'END'
create schema if not exists replication;
create table if not exists replication.schema_version (side text not null, version int not null, name text not null,
    applied_at timestamptz not null default clock_timestamp(), primary key (side, version));
END
  for part in common "$side"; do
    while read -r version path; do
      [[ -n $path ]] || continue
      git show "$commit:schema/$path"
      printf "insert into replication.schema_version values ('%s', %s, '%s');\n" "$part" "$version" "$path"
    done < <(list_of "$commit" "${part^^}" | tr ',' '\n' | tr --delete '"')
    for path in $(list_of "$commit" "${part^^}_REPEATABLE" | tr --delete '",'); do git show "$commit:schema/$path"; done
    revision=$(revision_of "$commit" "$part")
    [[ -z $revision ]] || printf "insert into replication.schema_version values ('%s', %s, 'repeatable') on conflict do nothing;\n" "$part" "$revision"
  done
}

# sql DATABASE PSQL_ARGUMENT…
sql() {
  PGPASSWORD=$POSTGRES_PASSWORD "$BIN/psql" --host=127.0.0.1 --port="$PORT" --username=postgres --no-psqlrc --quiet --no-align \
    --tuples-only --set=ON_ERROR_STOP=1 --dbname="$1" "${@:2}"
}

# service_migrate SERVICE DATABASE
service_migrate() {
  DATABASE_URL=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$PORT/$2 RUST_LOG=warn "$(service_binary "$1")" migrate
}

# As a database of then, with rows that were captured.
source_make() {
  schema_of "$1" source | sql of_then_a --single-transaction --file=- \
    && sql of_then_a --file="$ROOT/schema/demo/tables.sql" \
    && sql of_then_a --command="select replication.attach('users'), replication.attach('payments')" \
    && sql of_then_a --command="insert into users (name, email) values ('Old', 'old@x')"
}

target_make() {
  schema_of "$1" target | sql of_then_b --single-transaction --file=- && sql of_then_b --file="$ROOT/schema/demo/tables.sql"
}

# What the services make of them is what they would have made themselves.
are_brought_up() {
  local state
  service_migrate outbox-publisher of_then_a && service_migrate inbox-processor of_then_b \
    && sql of_then_a --command="update users set name = 'New'; insert into users (name, email) values ('Other', 'other@x')" \
    && state=$(sql of_then_a --command="select (select count(*) from replication.outbox_event) || ' events, problems: '
                 || coalesce((select string_agg(problem, '; ') from replication.capture_problem), 'none')") \
    && sql of_then_a --command="alter table users add column phone text; update users set phone = '1'" \
    || return 1
  [[ $state == '3 events, problems: none' ]] || { printf '%s\n' "$state" && return 1; }
}

# version_try COMMIT: false where the services do not bring it up.
version_try() {
  local commit=$1 output
  sql postgres --command='drop database if exists of_then_a with (force)' --command='drop database if exists of_then_b with (force)' \
    --command='create database of_then_a' --command='create database of_then_b' 2>/dev/null
  if ! output=$({ source_make "$commit" && target_make "$commit"; } 2>&1 >/dev/null); then
    say "skipped: $commit could not be made on this server: $(grep --max-count=1 ERROR <<<"$output")"
    SKIPPED=$((SKIPPED + 1))
  elif ! output=$(are_brought_up 2>&1); then
    error "$commit ($(git log -1 --format=%s "$commit")) is not brought up: $output"
    FAILED_VERSIONS+=("$commit")
  fi
}

server_try() {
  local server=$1 commit begun_ms
  begun_ms=$(now_ms)
  servers_install "$server"
  BIN=$(server_bin "$server") SKIPPED=0
  export POSTGRES_A_BIN=$BIN
  "$ROOT/scripts/test-postgres.sh" create "$NAME" "$PORT" max_connections=40
  for commit in "${COMMITS[@]}"; do version_try "$commit"; done
  "$ROOT/scripts/test-postgres.sh" remove "$NAME" "$PORT"
  say "PostgreSQL $(server_version "$server"): ${#COMMITS[@]} versions, $SKIPPED of them skipped, after $(seconds_since "$begun_ms") s"
}

main() {
  local server
  parse_arguments "$@"
  cd "$ROOT"
  export RUN_DIR=$ROOT/.run/schema-versions ENV_FILE=/dev/null TEST_RUN_DIR=$ROOT/.run/schema-versions
  settings_load
  layer_load native
  [[ ${#COMMITS[@]} -gt 0 ]] || commits_load
  ((${#COMMITS[@]} > 0)) || die "The history has no version of the schema: this clone is shallow. Get all of it: git fetch --unshallow"
  FAILED_VERSIONS=()
  trap '"$ROOT/scripts/test-postgres.sh" remove "$NAME" "$PORT" >/dev/null 2>&1 || true; rm -rf "$RUN_DIR"' EXIT
  for server in "${SERVERS_TRIED[@]}"; do server_try "$server"; done
  [[ ${#FAILED_VERSIONS[@]} -eq 0 ]] || die "Not brought up: ${FAILED_VERSIONS[*]}"
}

main "$@"
