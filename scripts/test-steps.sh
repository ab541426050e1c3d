# shellcheck shell=bash
# The steps of a test run: one after the other, or side by side. Needs console.sh.

readonly STEPS_AT_ONCE_MAX=3
# A step that hangs ends, and with it the run. A bound on liveness: a loaded machine takes several times as long as an
# idle one.
readonly STEP_DEADLINE_S=3000 STEP_GRACE_S=60

# By process id: what runs beside the others.
declare -A STEP_TITLE=() STEP_COMMAND=() STEP_OUTPUT=() STEP_BEGUN_MS=()
STEPS_FAILED=()

# step TITLE COMMAND…: a function as well, whose status counts (bash's errexit is off inside).
step() {
  local title=$1 begun_ms
  shift
  heading "$title"
  begun_ms=$(now_ms)
  "$@" || die "Failed: $title. (Its output is above; run by itself: $*)"
  say "${GREEN}ok${PLAIN}, $(seconds_since "$begun_ms") s"
}

# step_beside TITLE PROGRAM…: runs beside other steps, at most STEPS_AT_ONCE_MAX of them. Its output is shown when it
# ends. If it fails, the others still run to their end, and steps_await is false.
step_beside() {
  local title=$1 output
  shift
  while ((${#STEP_TITLE[@]} >= STEPS_AT_ONCE_MAX)); do step_reap; done
  STEP_OUTPUTS=${STEP_OUTPUTS:-$(mktemp --directory)}
  output=$(mktemp --tmpdir="$STEP_OUTPUTS")
  # In a process group of its own, which gets the signal that ends it.
  timeout --kill-after="$STEP_GRACE_S" "$STEP_DEADLINE_S" "$@" </dev/null >"$output" 2>&1 &
  STEP_TITLE[$!]=$title STEP_COMMAND[$!]=$* STEP_OUTPUT[$!]=$output STEP_BEGUN_MS[$!]=$(now_ms)
  heading "$title: started, and shown when it ends"
}

# Waits until one of the steps ends, and shows it.
step_reap() {
  local pid status=0 title
  wait -n -p pid "${!STEP_TITLE[@]}" || status=$?
  title=${STEP_TITLE[$pid]}
  heading "$title"
  cat "${STEP_OUTPUT[$pid]}"
  if ((status == 0)); then
    say "${GREEN}ok${PLAIN}, $(seconds_since "${STEP_BEGUN_MS[$pid]}") s"
  else
    step_failed "$pid" "$status"
  fi
  unset "STEP_TITLE[$pid]" "STEP_COMMAND[$pid]" "STEP_OUTPUT[$pid]" "STEP_BEGUN_MS[$pid]"
}

# Rust tests are named: each is looked for by its name.
step_failed() {
  local title=${STEP_TITLE[$1]} status=$2 reason="run by itself: ${STEP_COMMAND[$1]}" tests
  tests=$(sed --quiet --regexp-extended 's/^test (\S+) .*FAILED$/\1/p' "${STEP_OUTPUT[$1]}")
  [[ -z $tests ]] || reason=${tests//$'\n'/, }
  ((status != 124)) || reason="it did not end within $STEP_DEADLINE_S s; $reason"
  error "Failed: $title ($reason)"
  STEPS_FAILED+=("$title ($reason)"$'\n'"$(step_last_words "${STEP_OUTPUT[$1]}")")
}

# step_last_words OUTPUT: why a step failed, for the end of the run: a log of this length is often kept in part.
step_last_words() {
  {
    grep --max-count=5 --after-context=3 ' panicked at ' "$1" \
      || grep --max-count=3 --after-context=10 '^Error: ' "$1" \
      || tail --lines=5 "$1"
  } | cut --characters=1-300 | sed 's/^/    | /'
}

# Waits for all steps that run beside others. False if one of them failed.
steps_await() {
  while ((${#STEP_TITLE[@]} > 0)); do step_reap; done
  ((${#STEPS_FAILED[@]} == 0))
}

# Ends those that still run. Each cleans up what it started.
steps_abandon() {
  local pid
  for pid in "${!STEP_TITLE[@]}"; do
    say "Stopping: ${STEP_TITLE[$pid]}"
    kill "$pid" 2>/dev/null || true
  done
  wait "${!STEP_TITLE[@]}" || true
  STEP_TITLE=()
  [[ -z ${STEP_OUTPUTS:-} ]] || rm -rf "$STEP_OUTPUTS"
}
