#!/usr/bin/env bash
# Usage: scripts/test-documents.sh
#
# Tests that the documents are true where that can be seen from the files: the tests, files and headings that they name
# exist, decisions and pages are indexed, something prints the messages that the tables of README.md and
# docs/operations.md quote, README.ru.md has no command, output or name of its own, and the figures of
# docs/comparison.md are the latest. Called by scripts/test-scripts.sh.
# shellcheck disable=SC2016 # the backquotes are Markdown's
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"

FAILURES=0

fault() {
  error "$@"
  FAILURES=$((FAILURES + 1))
}

# Names such as `module::test`, or `module::the_beginning_of_a_…`.
stories_exist() {
  local document=$1 name module
  while read -r name; do
    name=${name//\`/} module=${name%%::*} name=${name##*::}
    [[ $name == *… ]] && name=${name%…} || name+='('
    grep --quiet --recursive --fixed-strings "fn $name" "$ROOT/tests/stories/$module.rs" "$ROOT/tests/stories/$module" 2>/dev/null \
      || fault "${document#"$ROOT"/} names the test $module::${name%(}, which is not in tests/stories"
  done < <(grep --only-matching --extended-regexp '`[a-z_]+::[a-z_]+(…)?`' "$document")
}

mutations_exist() {
  local document=$1 name
  while read -r name; do
    [[ -e $ROOT/tests/mutations/$name ]] || fault "${document#"$ROOT"/} names the mutation $name, which is not in tests/mutations"
  done < <(tr '\n' ' ' <"$document" | grep --only-matching --extended-regexp 'mutations? (`[a-z_]+`(, | and )?)+' \
    | grep --only-matching --extended-regexp '`[a-z_]+`' | tr --delete '`')
}

links_lead_somewhere() {
  local document=$1 link file anchor
  while read -r link; do
    file=${link%%#*} anchor=''
    [[ $link != *'#'* ]] || anchor=${link#*#}
    if [[ -z $file ]]; then file=$document; else file=$(dirname "$document")/$file; fi
    if [[ ! -e $file ]]; then
      fault "${document#"$ROOT"/} links to $link, which does not exist"
    elif [[ -n $anchor ]] && ! anchors_of "$file" | grep --quiet --line-regexp --fixed-strings "$anchor"; then
      fault "${document#"$ROOT"/} links to $link, and there is no such heading"
    fi
  done < <(sed 's/`[^`]*`//g' "$document" | grep --only-matching --perl-regexp '\]\(\K(?!https?:)[^)]+')
}

# A heading's anchor, as GitHub makes it.
anchors_of() {
  sed --quiet 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

# Paths such as `shared/src/wire.rs` or `tests/stories/*.rs`.
paths_exist() {
  local document=$1 path
  while read -r path; do
    [[ -n $(compgen -G "$ROOT/$path") ]] || fault "${document#"$ROOT"/} names $path, which does not exist"
  done < <(grep --only-matching --perl-regexp '`(\./)?\K(schema|shared|publisher|processor|generator|bench|tests|scripts|docs|nats-config|examples)/[\w./*-]*(?=`)' "$document")
}

decisions_are_indexed() {
  local record
  for record in "$ROOT"/docs/decisions/*.md; do
    record=${record##*/}
    [[ $record == README.md ]] || grep --quiet --fixed-strings "($record)" "$ROOT/docs/decisions/README.md" \
      || fault "docs/decisions/README.md does not list $record"
  done
}

pages_are_indexed() {
  local page
  for page in "$ROOT"/docs/*.md; do
    page=${page##*/}
    [[ $page == README.md ]] || grep --quiet --fixed-strings "]($page): " "$ROOT/docs/README.md" \
      || fault "docs/README.md does not list $page with a sentence: - [Title]($page): what it is for."
  done
}

# What is in code blocks and between backquotes, without the comments at the ends of lines (which are in the page's
# language).
code_of() {
  awk '/^```/ { inside = !inside; next } inside { sub(/ +(#|--) .*/, ""); print }' "$1"
  sed '/^```/,/^```/d' "$1" | grep --only-matching '`[^`]*`' | tr --delete '`'
}

# The Russian quick start says to type, and shows, what README.md does.
translation_is_true() {
  local translation=$1 line original
  original=$(code_of "$ROOT/README.md")
  while IFS= read -r line; do
    [[ $'\n'$original$'\n' == *$'\n'"$line"$'\n'* ]] \
      || fault "${translation#"$ROOT"/} has the code \"$line\", and README.md has not"
  done < <(code_of "$translation")
}

figures_are_the_latest() {
  local row
  while IFS= read -r row; do
    grep --quiet --line-regexp --fixed-strings "$row" "$ROOT/bench/results/latest.md" \
      || fault "docs/comparison.md has the row \"$row\", and bench/results/latest.md has not: copy the new one"
  done < <(sed --quiet '/^## Measured/,/^## /p' "$ROOT/docs/comparison.md" | grep '^|')
}

# Messages are in italics: *ignoring the target …: this source is bound to …*. What is between two "…" must occur in
# the programs' text.
quoted_messages_are_printed() {
  local document=$1 heading=$2 message part text
  text=$(find "$ROOT"/{shared,publisher,processor,schema,scripts} -regex '.*\.\(rs\|sql\|sh\)' -exec cat {} + \
    | tr --squeeze-repeats '\n ' ' ' | sed 's/\\ *//g')
  while IFS= read -r message; do
    while IFS= read -r part; do
      [[ ${#part} -lt 8 || $text == *"$part"* ]] \
        || fault "${document#"$ROOT"/} quotes \"${message//\*/}\", but nothing prints \"$part\""
    done < <(printf '%s\n' "$message" | sed 's/\*//g; s/…/\n/g' | sed 's/^[ :]*//; s/[ :]*$//')
  done < <(sed --quiet "/^## $heading/,\$p" "$document" | sed --quiet 's/^| \([^|]*\)|.*/\1/p' | grep --only-matching '\*[^*]*\*')
}

main() {
  local document
  case ${1:-} in
    '') ;;
    -h | --help) print_help "$0" && exit ;;
    *) die_usage "There is no option or argument '$1'." ;;
  esac
  for document in "$ROOT"/*.md "$ROOT"/{docs,docs/decisions,schema,bench}/*.md; do
    stories_exist "$document"
    mutations_exist "$document"
    links_lead_somewhere "$document"
    paths_exist "$document"
  done
  decisions_are_indexed
  pages_are_indexed
  translation_is_true "$ROOT/README.ru.md"
  figures_are_the_latest
  quoted_messages_are_printed "$ROOT/README.md" Troubleshooting
  quoted_messages_are_printed "$ROOT/docs/operations.md" "Every message"
  ((FAILURES == 0)) || die "The documents are not true in $FAILURES places, named above."
}

main "$@"
