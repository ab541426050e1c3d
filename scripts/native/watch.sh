# shellcheck shell=bash
# The watcher, a process of its own (scripts/native/watcher.sh) that restarts components that died: what
# a restart policy is to containers. start-replication.sh leaves it running, and stop-replication.sh
# stops it with the last component.

# Replaces a running watcher: the new one has the settings of the latest start.
layer_watch() {
  layer_unwatch
  process_start watcher "$ROOT/scripts/native/watcher.sh"
}

layer_unwatch() { process_stop watcher TERM 10; }

layer_watch_problem() {
  if [[ -z $(compgen -G "$RUN_DIR/*.pid") ]] || process_id watcher >/dev/null; then return 0; fi
  printf 'the watcher is not running: a component that dies is not restarted'
  return 1
}
