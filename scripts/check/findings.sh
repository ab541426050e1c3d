# shellcheck shell=bash
# What is wrong, collected while the sections are written, and the verdict made of it.

FINDINGS=()
EXIT_STATUS=0

# finding LEVEL WHAT NEXT: LEVEL is 1 for a warning, 2 for something critical.
finding() {
  local level=$1 what=$2 next=$3 label="${YELLOW}warning${PLAIN} "
  ((level < 2)) || label="${RED}critical${PLAIN}"
  FINDINGS+=("$label  $what"$'\n'"            -> $next")
  ((level <= EXIT_STATUS)) || EXIT_STATUS=$level
}

# The colour of a level; of the sections' lines too.
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
    0) say "${GREEN}OK${PLAIN}: every component works and B is what A was a moment ago. Nothing to do." ;;
    1) say "${YELLOW}WARNING${PLAIN}: look at this." ;;
    2) say "${RED}CRITICAL${PLAIN}: this needs you now." ;;
  esac
  for item in "${FINDINGS[@]}"; do printf '  %s\n' "$item"; done
}
