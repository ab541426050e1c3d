#!/usr/bin/env bash
# Usage: scripts/test-postgres.sh create|start|stop|kill|remove NAME PORT [SETTING=VALUE…]
#        scripts/test-postgres.sh standby NAME PORT PRIMARY_PORT
#        scripts/test-postgres.sh upgrade NAME PORT DIRECTORY [SETTING=VALUE…]
#        scripts/test-postgres.sh disk NAME PORT MEGABYTES
#        scripts/test-postgres.sh fill|free NAME PORT
#
# A PostgreSQL server of a test's own, under TEST_RUN_DIR: for tests that need settings which a running server
# cannot change, or that stop and promote it. Its user is postgres, its password POSTGRES_PASSWORD.
#
#   create   a new one with these settings, started
#   standby  a new one that follows another server, started
#   start    the one that is there, unless it is up;  stop: cleanly;  kill: at whatever it is doing;  remove: with its data
#   upgrade  by pg_upgrade, to the version whose programs are in this directory (as POSTGRES_A_BIN from then on), started
#   disk     a disk of its own of this size (in memory; it takes root), before create
#   fill     takes all the room that its disk has left;  free: gives it back
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/wait.sh"

readonly COMPONENT=postgres-a

server_data() { readlink --canonicalize "$RUN_DIR/data/$COMPONENT/pgdata"; }

server_configure() {
  local setting
  for setting in "$@"; do
    printf '%s = %s\n' "${setting%%=*}" "'${setting#*=}'" | postgres_as_owner tee --append "$(server_data)/postgresql.conf" >/dev/null
  done
}

server_directory() { readlink --canonicalize "$RUN_DIR/data/$COMPONENT"; }

disk_create() {
  disk_remove
  component_purge "$COMPONENT"
  postgres_owner_load
  postgres_directory_make "$COMPONENT"
  mount -t tmpfs -o "size=$1m" replication-test "$(server_directory)" \
    || die "A disk for $COMPONENT cannot be made: mounting takes root, and a system that lets root mount."
}

disk_remove() {
  ! mountpoint --quiet "$(server_directory)" || umount --lazy "$(server_directory)"
}

# To the last byte, whatever the server writes or gives back meanwhile: what was free a moment ago need not be.
disk_fill() {
  local said
  ! said=$(LC_ALL=C dd if=/dev/zero of="$(server_directory)/ballast-$EPOCHREALTIME" bs=1M status=none 2>&1) \
    || die "Writing to the disk of $COMPONENT ended before it was full."
  [[ $said == *"No space left on device"* ]] || die "The disk of $COMPONENT was not filled: $said"
}

disk_free() { rm "$(server_directory)"/ballast-*; }

server_create() {
  mountpoint --quiet "$(server_directory)" || component_purge "$COMPONENT"
  postgres_owner_load
  postgres_create "$COMPONENT" "$(postgres_bin "$COMPONENT")"
  # A test's own server need not outlive the machine.
  server_configure "$@"
  server_start
}

# The data of the other server, copied while it runs.
server_follow() {
  local primary_port=$1 directory
  component_purge "$COMPONENT"
  postgres_owner_load
  postgres_directory_make "$COMPONENT"
  directory=$(readlink --canonicalize "$RUN_DIR/data/$COMPONENT")
  (cd / && postgres_as_owner env PGPASSWORD="$POSTGRES_PASSWORD" "$(postgres_bin "$COMPONENT")/pg_basebackup" \
    --host=127.0.0.1 --port="$primary_port" --username=postgres --pgdata="$directory/pgdata" \
    --checkpoint=fast --wal-method=stream --write-recovery-conf)
  server_start
}

# As PostgreSQL's manual has it: a new cluster beside the old one, with the same checksums, takes its data over.
server_upgrade() {
  local bin=$1 former directory major checksums=()
  shift
  former=$(postgres_bin "$COMPONENT") directory=$(server_directory)
  component_stop "$COMPONENT"
  postgres_owner_load
  # Before 18 there are none by default, nor the option.
  major=$(postgres_major "$bin")
  ((major < 18)) || checksums=(--no-data-checksums)
  [[ $(postgres_as_owner "$former/pg_controldata" "$directory/pgdata") =~ checksum\ version:\ +0 ]] || checksums=(--data-checksums)
  mv "$directory/pgdata" "$directory/former"
  postgres_cluster_make "$bin" "$directory/pgdata" "${checksums[@]}" >/dev/null
  (cd "$directory" && postgres_as_owner env PGPASSWORD="$POSTGRES_PASSWORD" "$bin/pg_upgrade" --username=postgres \
    --old-bindir="$former" --new-bindir="$bin" --old-datadir="$directory/former" --new-datadir="$directory/pgdata" --socketdir=/tmp) >&2
  rm -rf "$directory/former"
  server_configure "$@"
  export POSTGRES_A_BIN=$bin
  server_start
}

server_start() {
  local begun_ms
  begun_ms=$(now_ms)
  STARTED=("$COMPONENT")
  component_start "$COMPONENT"
  until component_healthy "$COMPONENT" >/dev/null; do
    (($(now_ms) - begun_ms < START_TIMEOUT * 1000)) || die "the server is not healthy: $(component_healthy "$COMPONENT")"
    component_is_up "$COMPONENT" || die "the server ended: $(component_logs "$COMPONENT" 20)"
    sleep 0.1
  done
}

# Also its children must be gone before the next start; postgres_start sees to that.
server_kill() {
  local pid
  pid=$(process_id "$COMPONENT") || return 0
  kill -s KILL "$pid"
  # A start right after it would take it as still running.
  while process_birth_load "$pid"; do sleep 0.02; done
}

main() {
  local what=${1:-} name=${2:-} port=${3:-}
  [[ $what != -h && $what != --help ]] || { print_help "$0" && exit; }
  [[ $name =~ ^[a-z_]+$ && $port =~ ^[0-9]+$ ]] || die_usage "Say what to do, a name and a port."
  shift 3
  export RUN_DIR=$TEST_RUN_DIR/private-$name ENV_FILE=/dev/null POSTGRES_A_PORT=$port
  settings_load
  mkdir -p "$RUN_DIR"
  layer_load native
  case $what in
    create) server_create "$@" ;;
    standby) server_follow "$@" ;;
    upgrade) server_upgrade "$@" ;;
    start) component_is_up "$COMPONENT" || server_start ;;
    disk) disk_create "$@" ;;
    fill) disk_fill ;;
    free) disk_free ;;
    stop) component_stop "$COMPONENT" ;;
    kill) server_kill ;;
    remove)
      component_stop "$COMPONENT"
      disk_remove
      component_purge "$COMPONENT"
      run_dir_tidy
      ;;
    *) die_usage "There is no '$what'." ;;
  esac
}

main "$@"
