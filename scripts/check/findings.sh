# shellcheck shell=bash
# Findings, collected while the sections are printed, and the verdict.

readonly WARNING=1 CRITICAL=2 UNKNOWN=3

FINDINGS=() # the critical ones first, then what is unknown
CRITICAL_FINDINGS=() UNKNOWN_FINDINGS=() WARNING_FINDINGS=()
EXIT_STATUS=0

# finding LEVEL WHAT NEXT: LEVEL is 1 for a warning, 2 for critical, 3 for what could not be looked at.
finding() {
  local level=$1 what=$2 next=$'\n'"            -> $3"
  case $level in
    "$CRITICAL") CRITICAL_FINDINGS+=("${RED}critical${PLAIN}  $what$next") ;;
    "$UNKNOWN") UNKNOWN_FINDINGS+=("${RED}unknown${PLAIN}   $what$next") ;;
    *) WARNING_FINDINGS+=("${YELLOW}warning${PLAIN}   $what$next") ;;
  esac
  FINDINGS=("${CRITICAL_FINDINGS[@]}" "${UNKNOWN_FINDINGS[@]}" "${WARNING_FINDINGS[@]}")
  # What is critical is so, whatever else is unknown; behind what is unknown there may be worse than a warning.
  if ((${#CRITICAL_FINDINGS[@]} > 0)); then
    EXIT_STATUS=$CRITICAL
  elif ((${#UNKNOWN_FINDINGS[@]} > 0)); then
    EXIT_STATUS=$UNKNOWN
  else
    EXIT_STATUS=$WARNING
  fi
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
    0) say "${GREEN}OK${PLAIN}: $(all_is_well)" ;;
    "$WARNING") say "${YELLOW}WARNING${PLAIN}: needs attention." ;;
    "$CRITICAL") say "${RED}CRITICAL${PLAIN}: needs action now." ;;
    "$UNKNOWN") say "${RED}UNKNOWN${PLAIN}: not everything could be looked at." ;;
  esac
  for item in "${FINDINGS[@]}"; do printf '  %s\n' "$item"; done
}
