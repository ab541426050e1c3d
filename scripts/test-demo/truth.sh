# shellcheck shell=bash
# Stories of a check that is run where it cannot look, and of what it must not report. Sourced by scripts/test-demo.sh.

# as_nobody STATUS TEXT SCRIPT: what the script ends with and prints when another user runs it, from a copy that that user
# may read.
as_nobody() {
  local status=$1 text=$2 script=$3 copy actual=0
  copy=$(mktemp --directory)
  cp -r "$ROOT"/{start,check}-replication.sh "$ROOT/scripts" "$ROOT/schema" "$copy"
  chmod --recursive a+rX "$copy"
  # shellcheck disable=SC2031 # those of this script
  OUTPUT=$(setpriv --reuid=65534 --regid=65534 --clear-groups "$copy/$script" 2>&1) || actual=$?
  rm -rf "$copy"
  [[ $actual == "$status" && $OUTPUT == *"$text"* && $OUTPUT != *"unbound variable"* && $OUTPUT != *"never started"* ]] \
    || die "expected status $status and \"$text\" of $script as another user, got status $actual and:"$'\n'"$OUTPUT"
  say "$script as another user: $status, \"$text\""
}

# nobody_reads PATH…: files and directories that are there.
nobody_reads() {
  local path
  for path in "$@"; do
    [[ -e $path ]] || die "there is no $path"
    ! setpriv --reuid=65534 --regid=65534 --clear-groups find "$path" -maxdepth 0 -readable 2>/dev/null | grep --quiet . \
      || die "another user can read $path"
  done
  say "another user cannot look into $RUN_DIR, nor read a log, the signing key or what NATS stores"
}

# Nothing seems well, or never started, to a user who may not look.
story_of_another_user() {
  local mode
  if [[ $EUID -ne 0 ]]; then
    say "Skipped: only root can run it as another user"
    return
  fi
  nobody_reads "$RUN_DIR" "$RUN_DIR/log/outbox-publisher.log" "$RUN_DIR/secrets/signing.keys" "$RUN_DIR/data/nats-b-1"
  as_nobody 3 "cannot be read by nobody" check-replication.sh
  mode=$(stat --format=%a "$RUN_DIR")
  chmod 700 "$RUN_DIR"
  as_nobody 3 "cannot be read by nobody" check-replication.sh
  chmod "$mode" "$RUN_DIR"
  printf 'POSTGRES_PASSWORD=secret\n' >"$RUN_DIR/env"
  chmod 600 "$RUN_DIR/env"
  ENV_FILE=$RUN_DIR/env as_nobody 3 "cannot be read by nobody" check-replication.sh
  rm "$RUN_DIR/env"
  as_nobody 1 "lock cannot be written" start-replication.sh
}

story_of_outputs_that_take_nothing() {
  check_says 0 "B is what A was a moment ago"
  "$ROOT/check-replication.sh" >/dev/full 2>&1 || die "the check ends with $? where its output is on a full disk"
  "$ROOT/check-replication.sh" >&- 2>&- || die "the check ends with $? where its output is closed"
  "$ROOT/check-replication.sh" 2>&1 | true || die "the check ends with $? where nobody reads it"
  say "the same verdict on a full disk, a closed output and a pipe that has ended"
}

# What an operator mistypes and an application provokes is theirs; errors of the services' sessions are ours.
story_of_errors_of_others() {
  ! in_a "selct 1" 2>/dev/null || die "that was no typo"
  ! in_b "insert into users (name, email) select name, email from users limit 1" 2>/dev/null || die "that was no violation"
  check_says 0 "postgres-a"
  [[ $OUTPUT == *"errors in 10 min: 0"* ]] || die "errors of others are counted:"$'\n'"$OUTPUT"
  ! PGAPPNAME=outbox-publisher in_a "selct 1" 2>/dev/null || die "that was no typo"
  check_says 1 "postgres-a: 1 errors in its log"
  errors_forget
}

# Each two sentences of the check agree.
story_of_everything_that_died() {
  local component
  for component in watcher "${ALL_COMPONENTS[@]}"; do kill -KILL "$(<"$RUN_DIR/$component.pid")"; done
  check_says 2 "the watcher is not running"
  [[ $OUTPUT == *"postgres-a: died, and nothing restarts it"* && $OUTPUT != *"restart pending"* && $OUTPUT != *"never started"* ]] \
    || die "the check contradicts itself:"$'\n'"$OUTPUT"
  quietly "$ROOT/start-replication.sh"
  errors_forget
  check_says 0 "B is what A was a moment ago"
}

# The process id in postmaster.pid is another process's by now.
story_of_a_power_cut() {
  local file=$RUN_DIR/data/postgres-b/pgdata/postmaster.pid left other
  left=$(tail -n +2 "$file")
  quietly "$ROOT/stop-replication.sh" postgres-b
  postgres_owner_load
  "${POSTGRES_AS_OWNER[@]}" sleep 100 &
  other=$!
  printf '%s\n%s\n' "$other" "$left" | postgres_as_owner tee "$file" >/dev/null
  until [[ $(cat "/proc/$other/comm") == sleep ]]; do sleep 0.05; done
  quietly "$ROOT/start-replication.sh" postgres-b
  kill "$other"
  say "postgres-b started, although the id of its former process is another's"
  errors_forget
  check_says 0 "B is what A was a moment ago"
}

# What a careful root's umask hides from user postgres.
story_of_a_strict_umask() {
  local output status=0
  local own=(env RUN_DIR="$ROOT/.run/demo-test-umask" POSTGRES_A_PORT="$((POSTGRES_A_PORT + 50))")
  # shellcheck disable=SC2016 # bash -c expands it
  output=$("${own[@]}" bash -c 'umask 077 && exec "$0" --native postgres-a' "$ROOT/start-replication.sh" 2>&1) || status=$?
  "${own[@]}" "$ROOT/stop-replication.sh" --purge >/dev/null
  [[ $status == 0 ]] || die "with umask 077, postgres-a does not start:"$'\n'"$output"
  [[ ! -e $ROOT/.run/demo-test-umask ]] || die "--purge left something in .run/demo-test-umask"
  say "with umask 077, postgres-a starts"
}
