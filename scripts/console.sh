# shellcheck shell=bash
# Output for people: headings and progress on stdout, warnings and errors on stderr.
# Colours only on a terminal, and not with NO_COLOR.

# shellcheck disable=SC2034 # the scripts that source this use them
colours_load() {
  BOLD='' RED='' YELLOW='' GREEN='' PLAIN=''
  if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
  fi
}

heading() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
say() { printf '  %s\n' "$*"; }
progress() { printf '  %-16s %s\n' "$1" "$2"; }
# Where stderr takes nothing, the exit status still tells.
warn() { printf '%sWarning: %s%s\n' "$YELLOW" "$*" "$PLAIN" >&2 || true; }
error() { printf '%sError: %s%s\n' "$RED" "$*" "$PLAIN" >&2 || true; }

# An error that ends the script. The message says what to do next.
die() {
  error "$@"
  exit 1
}

# A mistake on the command line.
die_usage() {
  error "$1"
  printf 'See %s --help.\n' "$0" >&2
  exit 2
}

# print_if_possible COMMAND…: prints what the command prints, as far as the output takes it. A full disk, a closed output
# or a reader that has ended changes nothing about the command's exit status, which counts.
print_if_possible() {
  [[ -e /proc/self/fd/1 ]] || exec >/dev/null
  [[ -e /proc/self/fd/2 ]] || exec 2>/dev/null
  "$@" | forward_if_possible
}

forward_if_possible() {
  local line
  trap '' PIPE
  while IFS= read -r line; do printf '%s\n' "$line" || true; done
} 2>/dev/null

# Prints the comment block at the top of a script: its help text is written once, there.
print_help() {
  awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$1"
}

user_name() { id --user --name 2>/dev/null || id --user; }

now_ms() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# 1234 -> 1.2
seconds_since() {
  local elapsed_ms=$(($(now_ms) - $1))
  printf '%d.%d' "$((elapsed_ms / 1000))" "$((elapsed_ms % 1000 / 100))"
}

colours_load
