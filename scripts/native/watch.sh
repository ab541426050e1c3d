# shellcheck shell=bash
# The watcher, a process of its own (scripts/native/watcher.sh) that starts components again which
# died: what a restart policy is to containers. start-replication.sh leaves it behind, and
# stop-replication.sh ends it with the last component.

# Replaces the one that runs: the new one knows the settings of the latest start.
layer_watch() {
  layer_unwatch
  process_start watcher "$ROOT/scripts/native/watcher.sh"
}

layer_unwatch() { process_stop watcher TERM 10; }

layer_watch_problem() {
  if [[ -z $(compgen -G "$RUN_DIR/*.pid") ]] || process_id watcher >/dev/null; then return 0; fi
  printf 'nothing watches: a component that dies is not started again'
  return 1
}
