#!/usr/bin/env bash
# Usage: scripts/test-package.sh
#
# Makes the Debian package, checks its systemd units, installs it into a clean root made of the machine's own packages, runs
# a service there as its unit says, and removes and purges it: nothing is left. A step of test-replication.sh. Needs root.
# TEST_PORT_OFFSET moves the ports of its servers.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/test-package/root.sh"
source "$ROOT/scripts/test-package/unit.sh"

readonly PACKAGE=transaction-replication
readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 750)) # neither the demo's ports nor those of other tests
readonly SERVERS=(postgres-a nats-a-1)
readonly DEADLINE_S=60
# Of ten points times ten, the fewer the safer: what systemd-analyze counts for a service that may use the network, alone.
readonly EXPOSURE_MAX=15

own_settings_load() {
  export RUN_DIR=$ROOT/.run/package-test ENV_FILE=/dev/null
  settings_move_ports "$PORT_OFFSET"
  settings_load
  layer_load native
  SERVER=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_A_PORT
}

tools_require() {
  type -P systemd-analyze >/dev/null || packages_install systemd
  layer_prepare "${SERVERS[@]}"
}

# await WHAT COMMAND…: until the command succeeds.
await() {
  local what=$1 begun_s=$SECONDS
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS - begun_s < DEADLINE_S)) || die "still waiting after $DEADLINE_S s: $what"
    sleep 0.2
  done
}

# What an installation puts on a machine is read by systemd without a word, and may do little there.
story_of_units() {
  local unit said targets=(sysinit basic shutdown multi-user network-online)
  for unit in "${targets[@]}"; do cp "/usr/lib/systemd/system/$unit.target" "$CLEAN/usr/lib/systemd/system/"; done
  for unit in "$CLEAN"/usr/lib/systemd/system/*.service; do
    unit=$(basename "$unit" | sed 's/@/@outbox-publisher/')
    said=$(systemd-analyze verify --recursive-errors=no --root="$CLEAN" "$unit" 2>&1) || die "systemd refuses $unit: $said"
    [[ -z $said ]] || die "systemd complains of $unit: $said"
  done
  rm "$CLEAN"/usr/lib/systemd/system/*.target
  for unit in "$CLEAN"/usr/lib/systemd/system/*.service; do
    said=$(systemd-analyze security --offline=yes --threshold="$EXPOSURE_MAX" "$unit") || die "$unit is exposed: $said"
    say "$(tail -n 1 <<<"$said")"
  done
}

story_of_an_installation() {
  dpkg_there --install "$DEB"
  [[ $(status_there "$PACKAGE") == "install ok installed" ]] || die "the package is $(status_there "$PACKAGE")"
  [[ -z $(find "$CLEAN/etc/systemd" -type l 2>/dev/null) ]] || die "a service is enabled by its installation"
  (cd "$CLEAN" && md5sum --check --quiet "var/lib/dpkg/info/$PACKAGE.md5sums") || die "files are not as packaged"
  [[ $(stat --format=%a "$CLEAN/etc/replication/inbox-processor") == 700 ]] || die "others can look at the secrets"
}

# They need nothing that the root lacks.
story_of_programs() {
  local program
  for program in outbox-publisher inbox-processor data-generator; do
    [[ $(chroot "$CLEAN" "/usr/bin/$program" frobnicate 2>&1) == "usage: $program ["* ]] || die "$program does not run there"
  done
  [[ ! -e $CLEAN/usr/bin/replicationctl ]] || chroot "$CLEAN" /usr/bin/replicationctl version >/dev/null || die "replicationctl does not run there"
}

# What is not configured does not start, and says what it lacks.
story_of_a_service_without_settings() {
  local said status=0
  unit_asserts outbox-publisher.service && die "outbox-publisher.service starts without the files that it needs"
  said=$(chroot "$CLEAN" env --ignore-environment /usr/bin/outbox-publisher 2>&1) || status=$?
  [[ $status == 2 && $said == *"DATABASE_URL is not set"* ]] || die "without settings, it ends with $status: $said"
}

# secret SERVICE NAME VALUE
secret() { printf '%s\n' "$3" >"$CLEAN/etc/replication/$1/$2"; }

# The whole way of an operator: settings, secrets, the schema, the service.
story_of_a_service_that_runs() {
  sed --in-place "s|^NATS_URL=.*|NATS_URL=nats://127.0.0.1:$NATS_A_1_PORT|" "$CLEAN/etc/replication/outbox-publisher.env"
  printf 'HTTP_ADDRESS=127.0.0.1:%s\n' "$OUTBOX_PUBLISHER_HTTP_PORT" >>"$CLEAN/etc/replication/outbox-publisher.env"
  component_psql postgres-a --quiet --command='create database own' --command="create role package_publisher login password 'secret'"
  secret outbox-publisher owner-database-url "$SERVER/own"
  secret outbox-publisher database-url "postgres://package_publisher:secret@127.0.0.1:$POSTGRES_A_PORT/own"
  # shellcheck disable=SC2031 # the one changed in nats_start's subshell is not meant
  secret outbox-publisher nats-password "$NATS_PASSWORD"
  unit_asserts replication-migrate@outbox-publisher.service || die "replication-migrate@.service lacks a file"
  (unit_exec replication-migrate@outbox-publisher.service) 2>"$WORK/log" || die "the migration failed"
  unit_ended replication-migrate@outbox-publisher.service
  psql "$SERVER/own" --quiet --output=/dev/null --command="select replication.grant_to_publisher('package_publisher')"
  unit_asserts outbox-publisher.service || die "outbox-publisher.service lacks a file"
  unit_exec outbox-publisher.service 2>"$WORK/log" &
  SERVICE_PID=$!
  await "outbox-publisher is healthy" chroot "$CLEAN" env HEALTH_FILE=/run/outbox-publisher/health /usr/bin/outbox-publisher health
  [[ $(ps --format user= --pid "$SERVICE_PID") != root ]] || die "the service runs as root"
  kill -TERM "$SERVICE_PID"
  wait "$SERVICE_PID" || die "outbox-publisher did not end cleanly"
  SERVICE_PID=''
  unit_ended outbox-publisher.service
  say "outbox-publisher ran as its unit says, with settings and secrets of /etc/replication"
}

# With what an operator leaves: a service that is enabled, settings, secrets.
story_of_a_removal() {
  mkdir -p "$CLEAN/etc/systemd/system/multi-user.target.wants"
  ln -s /usr/lib/systemd/system/outbox-publisher.service "$CLEAN/etc/systemd/system/multi-user.target.wants/"
  dpkg_there --remove "$PACKAGE"
  [[ ! -e $CLEAN/usr/bin/outbox-publisher && ! -e $CLEAN/usr/share/doc/$PACKAGE ]] || die "a removal leaves programs or documents"
  grep --quiet "127.0.0.1:$NATS_A_1_PORT" "$CLEAN/etc/replication/outbox-publisher.env" || die "a removal forgets the settings"
  [[ -e $CLEAN/etc/replication/outbox-publisher/database-url ]] || die "a removal forgets the secrets"
  dpkg_there --purge "$PACKAGE"
  rmdir --parents "$CLEAN/etc/systemd/system/multi-user.target.wants" 2>/dev/null || true
  diff <(printf '%s\n' "$BEFORE") <(files_there) || die "a purge leaves what is above"
  say "nothing is left"
}

clean_up() {
  local status=$? component
  [[ -z ${SERVICE_PID:-} ]] || kill "$SERVICE_PID" 2>/dev/null || true
  [[ $status == 0 || ! -e $WORK/log ]] || tail --lines=15 "$WORK/log" >&2
  for component in "${SERVERS[@]}"; do component_stop "$component" && component_purge "$component"; done
  run_dir_tidy
  rm -rf "$WORK"
}

main() {
  local story component
  case ${1:-} in
    '') ;;
    -h | --help) print_help "$0" && exit ;;
    *) die_usage "There is no option or argument '$1'." ;;
  esac
  if [[ $EUID -ne 0 ]]; then
    say "Skipped: only root can install a package"
    exit
  fi
  own_settings_load
  tools_require
  WORK=$(mktemp --directory)
  trap clean_up EXIT
  chmod 755 "$WORK"
  DEB=$("$ROOT/scripts/package.sh" --programs "$(dirname "$(service_binary any)")" "$WORK")
  CLEAN=$WORK/root
  root_make
  BEFORE=$(files_there)
  for component in "${SERVERS[@]}"; do component_start "$component"; done
  await "PostgreSQL answers" component_psql postgres-a --command='select'
  for story in an_installation programs units a_service_without_settings a_service_that_runs a_removal; do
    heading "${story//_/ }"
    "story_of_$story"
  done
}

main "$@"
