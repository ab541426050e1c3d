# shellcheck shell=bash
# Processes that outlive the script that starts them, found again by pid file.
#
#   RUN_DIR/<component>.pid        the pid of the process itself
#   RUN_DIR/<component>.born       boot id and start time of that process: pids are reused, so a pid is
#                                  trusted and signalled only while these still match
#   RUN_DIR/<component>.restarts   restarts after it died
#   RUN_DIR/<component>.deaths     deaths in a row, each soon after a start (scripts/native/watcher.sh)
#   RUN_DIR/log/<component>.log    its stdout and stderr

# Sets BIRTH to "BOOT_ID START_TIME" of a running process; fails for one that is gone or a zombie.
# Starts no process.
process_birth_load() {
  local stat='' fields boot_id
  { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || [[ -n $stat ]] || return 1
  read -r -a fields <<<"${stat##*) }" # from field 3 (state) on: the name before it may hold anything
  [[ ${fields[0]} != [ZX] ]] || return 1
  read -r boot_id </proc/sys/kernel/random/boot_id
  BIRTH="$boot_id ${fields[19]}"
}

process_is_zombie() { [[ -e /proc/$1 ]] && ! process_birth_load "$1"; }

# Sets PROCESS_ID to the pid of a component that runs; fails if it does not. Starts no process.
process_load() {
  local pid_file=$RUN_DIR/$1.pid birth_file=$RUN_DIR/$1.born birth=''
  [[ -f $pid_file && -f $birth_file ]] || return 1
  read -r PROCESS_ID <"$pid_file" && read -r birth <"$birth_file" || return 1
  process_birth_load "$PROCESS_ID" && [[ $BIRTH == "$birth" ]]
}

# Prints the pid of a component that runs; fails if it does not.
process_id() { process_load "$1" && printf '%s' "$PROCESS_ID"; }

# process_start COMPONENT COMMAND ARG…: the command inherits the environment, and nothing else.
process_start() {
  local component=$1 log=$RUN_DIR/log/$1.log
  shift
  process_count_restart "$component"
  install --directory --mode=700 "$RUN_DIR/log"
  (
    trap - EXIT
    cd /
    process_close_inherited_files
    exec setsid env --default-signal "$@"
  ) </dev/null >>"$log" 2>&1 &
  BIRTH=''
  process_birth_load "$!" || true
  printf '%s\n' "$BIRTH" >"$RUN_DIR/$component.born"
  printf '%s\n' "$!" >"$RUN_DIR/$component.pid"
  disown "$!"
}

process_close_inherited_files() {
  local fd
  for fd in "/proc/$BASHPID/fd/"*; do
    fd=${fd##*/}
    if ((fd > 2)); then exec {fd}>&-; fi
  done
}

# A pid file whose process is gone means that it died: a clean stop removes the file.
process_count_restart() {
  local restarts_file=$RUN_DIR/$1.restarts restarts=0
  if [[ ! -e $RUN_DIR/$1.pid ]]; then
    rm -f "$restarts_file"
    return
  fi
  [[ ! -e $restarts_file ]] || restarts=$(<"$restarts_file")
  printf '%s\n' "$((restarts + 1))" >"$restarts_file"
}

deaths_of() {
  local deaths=0
  [[ ! -e $RUN_DIR/$1.deaths ]] || read -r deaths <"$RUN_DIR/$1.deaths"
  printf '%s' "$deaths"
}
deaths_note() { printf '%s\n' "$2" >"$RUN_DIR/$1.deaths"; }

# process_stop COMPONENT SIGNAL DEADLINE_SECONDS
process_stop() {
  local component=$1 signal=$2 deadline_s=$3 pid waited_ms
  if pid=$(process_id "$component"); then
    kill -s "$signal" "$pid" 2>/dev/null || true
    for ((waited_ms = 0; waited_ms < deadline_s * 1000; waited_ms += 50)); do
      process_id "$component" >/dev/null || break
      sleep 0.05
    done
    if process_id "$component" >/dev/null; then
      warn "$component (pid $pid) did not exit within $deadline_s s of SIG$signal; killing it."
      kill -s KILL "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$RUN_DIR/$component".{pid,born,restarts,deaths,health}
}

process_state() {
  local component=$1 state since=- restarts=0
  if process_id "$component" >/dev/null; then
    state=up
    since=$(stat --format=%Y "$RUN_DIR/$component.pid")
  elif [[ -e $RUN_DIR/$component.pid ]]; then
    state=died
  else
    state=$(stop_reason "$component")
  fi
  [[ ! -e $RUN_DIR/$component.restarts ]] || restarts=$(<"$RUN_DIR/$component.restarts")
  printf '%s %s %s %s\n' "$state" "$since" "$restarts" "$(deaths_of "$component")"
}
