# shellcheck shell=bash
# Findings, collected while the sections are printed, and the verdict.

FINDINGS=()
EXIT_STATUS=0

# finding LEVEL WHAT NEXT: LEVEL is 1 for a warning, 2 for critical.
finding() {
  local level=$1 what=$2 next=$3 label="${YELLOW}warning${PLAIN} "
  ((level < 2)) || label="${RED}critical${PLAIN}"
  FINDINGS+=("$label  $what"$'\n'"            -> $next")
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
