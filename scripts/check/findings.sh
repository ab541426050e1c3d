# shellcheck shell=bash
# Findings, collected while the sections are printed, and the verdict.

FINDINGS=() # the critical ones first
CRITICAL_FINDINGS=0
EXIT_STATUS=0

# finding LEVEL WHAT NEXT: LEVEL is 1 for a warning, 2 for critical.
finding() {
  local level=$1 what=$2 next=$'\n'"            -> $3"
  if ((level < 2)); then
    FINDINGS+=("${YELLOW}warning${PLAIN}   $what$next")
  else
    FINDINGS=("${FINDINGS[@]:0:CRITICAL_FINDINGS}" "${RED}critical${PLAIN}  $what$next" "${FINDINGS[@]:CRITICAL_FINDINGS}")
    CRITICAL_FINDINGS=$((CRITICAL_FINDINGS + 1))
  fi
  ((level <= EXIT_STATUS)) || EXIT_STATUS=$level
}

# The colour of a level.
level_colour() {
  case $1 in
    0) printf '%s' "$GREEN" ;;
    1) printf '%s' "$YELLOW" ;;
    *) printf '%s' "$RED" ;;
  esac
}

verdict_print() {
  local item
  heading "Verdict"
  case $EXIT_STATUS in
    0) say "${GREEN}OK${PLAIN}: all components are healthy, and B is what A was a moment ago. Nothing to do." ;;
    1) say "${YELLOW}WARNING${PLAIN}: needs attention." ;;
    2) say "${RED}CRITICAL${PLAIN}: needs action now." ;;
  esac
  for item in "${FINDINGS[@]}"; do printf '  %s\n' "$item"; done
}
