# shellcheck shell=bash
# The comparison of one table. Its rows are split into parts by a hash of their key. First the parts are compared, by
# checksum; then the rows of the parts that differ. Either reading is exact by itself: B's position tells which rows of A
# are pending.

# Parts whose rows are read at a time; a part has about a thousand rows.
readonly PARTS_AT_ONCE=500
# Differing keys that are printed.
readonly KEYS_MAX=5
# The pause before a difference is confirmed.
readonly SECOND_LOOK_S=2

table_compare() {
  local name=$1 rows on_their_way
  PROBLEM=''
  if ! columns_choose "$name" || ! parts_compare "$name" || ! rows_compare "$name"; then
    conclude 2 "$name" "${RED}not compared${PLAIN}: ${PROBLEM:-a file in $WORK cannot be written; is the disk full?}"
    return
  fi
  rows=$(awk '$1 == "part" { rows += $3 } END { print rows + 0 }' "$WORK/parts")
  if [[ -s $WORK/different ]]; then
    conclude 1 "$name" "${RED}different${PLAIN}: $rows rows in A"
    different_print "$name"
  else
    on_their_way=$(wc --lines <"$WORK/on_their_way")
    conclude 0 "$name" "${GREEN}equal${PLAIN}: $rows rows in A$( ((on_their_way == 0)) || printf ', up to %d of them pending' "$on_their_way")"
  fi
  [[ -s $WORK/different || -n $MISSING || -z $HOLE ]] || hole_forget "$name"
  if [[ -n $MISSING ]]; then
    status_worsen 2
    say "  ${RED}not compared${PLAIN}, columns missing in B: $MISSING"
  fi
}

# What may have escaped the capture is in B.
hole_forget() {
  local closed
  if ! closed=$(side_read a equal.sql "table=$1" "snapshot=${HOLE#hole }" "tick=$TICK_OF_HOLE" "tick_id=$TICK_ID_OF_HOLE"); then
    say "  A's replication.capture_problem still reports it: $(side_error a)"
  elif [[ $closed == t ]]; then
    say "  A's replication.capture_problem no longer reports it."
  else
    say "  A's replication.capture_problem still reports it: run this again when B has applied what is pending."
  fi
}

# conclude STATUS NAME TEXT
conclude() {
  status_worsen "$1"
  say "$(printf '%-24s' "$2") $3"
}

status_worsen() { ((STATUS >= $1)) || STATUS=$1; }

# Sets COMMON (JSON), the columns that both have, and MISSING and RETYPED, those that B lacks or has with another type.
columns_choose() {
  local lines
  side_read b columns.sql "table=$1" "columns=${COLUMNS[$1]}" >"$WORK/columns" || {
    PROBLEM="error in B: $(side_error b)"
    return 1
  }
  mapfile -t lines <"$WORK/columns"
  COMMON=${lines[0]} MISSING=${lines[1]:-} RETYPED=${lines[2]:-}
}

# Sets PARTS_DIFFERENT, and HOLE where changes may have escaped the capture.
parts_compare() {
  sides_read "$1" '' || return 1
  HOLE=$(sed --quiet '/^hole /p' "$WORK/a") TICK_OF_HOLE=$TICK TICK_ID_OF_HOLE=$TICK_ID
  sed --quiet '/^part /p' "$WORK/a" >"$WORK/parts" && lines_of_one_side part parts_different \
    && mapfile -t PARTS_DIFFERENT <"$WORK/parts_different"
}

# Leaves in the file "different" the keys that differ, of the first parts that have such; in "on_their_way" those that were
# changed in A since.
rows_compare() {
  local first
  : >"$WORK/different" && : >"$WORK/on_their_way" || return 1
  for ((first = 0; first < ${#PARTS_DIFFERENT[@]}; first += PARTS_AT_ONCE)); do
    some_rows_compare "$1" "${PARTS_DIFFERENT[@]:first:PARTS_AT_ONCE}" || return 1
    [[ ! -s $WORK/different ]] || return 0
  done
}

# some_rows_compare NAME PART…
some_rows_compare() {
  local name=$1 look
  shift
  for look in first second; do
    [[ $look == first ]] || sleep "$SECOND_LOOK_S"
    sides_read "$name" "$(IFS=, && printf '%s' "$*")" && sed --quiet 's/^pending //p' "$WORK/a" | sort >"$WORK/pending" \
      && lines_of_one_side row "rows" && comm -23 "$WORK/rows" "$WORK/pending" >"$WORK/$look" || return 1
    [[ -s $WORK/$look ]] || break
  done
  if [[ -s $WORK/$look ]]; then
    comm -12 "$WORK/first" "$WORK/second" >"$WORK/different" || return 1
  else
    cat "$WORK/pending" >>"$WORK/on_their_way" || return 1
  fi
  if [[ -s $WORK/different ]] && grep --quiet --line-regexp unsure "$WORK/a"; then
    PROBLEM="rows seem to differ, but pending changes cannot be matched with rows by the text of their keys; run this again when B has applied them"
    return 1
  fi
}

# lines_of_one_side KIND FILE: leaves in the file the parts or keys (the second word) of the lines of a kind that only one
# side has. False if something could not be written: what is then missing is not equal.
lines_of_one_side() {
  sed --quiet "/^$1 /p" "$WORK/a" | sort >"$WORK/a.sorted" && sed --quiet "/^$1 /p" "$WORK/b" | sort >"$WORK/b.sorted" \
    && comm -3 "$WORK/a.sorted" "$WORK/b.sorted" | tr --delete '\t' | cut --delimiter=' ' --fields=2 | sort --unique >"$WORK/$2"
}

# sides_read NAME PARTS: leaves in the files "a" and "b" what rows.sql prints for all parts, or for some. Sets TICK and
# TICK_ID, the position of B.
sides_read() {
  local name=$1 count=${PART_COUNT[$1]} position='' arguments
  arguments=("table=$name" "keys=${KEYS[$name]}" "columns=$COMMON" "mask=$((count - 1))" "parts=$2")
  reader_begin b rows.sql in_target=true "${arguments[@]}"
  while [[ -z $position ]] && reader_runs; do
    sleep 0.02
    position=$(position_of_b)
  done
  [[ -n $position ]] || position=$(position_of_b)
  if [[ -z $position ]]; then
    reader_wait || true
    PROBLEM="error in B: $(side_error b)"
    return 1
  fi
  # A's snapshot is taken after B's, while B is still being read.
  read -r _ TICK TICK_ID <<<"$position"
  if ! side_read a rows.sql in_target=false "tick=$TICK" "tick_id=$TICK_ID" "${arguments[@]}" >"$WORK/a"; then
    PROBLEM="error in A: $(side_error a)"
  elif [[ $(head --lines=1 "$WORK/a") == emptied ]]; then
    PROBLEM="a TRUNCATE or resend in A is pending; run this again when B has applied it"
  elif reader_wait; then
    return 0
  else
    PROBLEM="error in B: $(side_error b)"
  fi
  reader_end
  return 1
}

position_of_b() { grep --max-count=1 '^position' "$WORK/b" || true; }

different_print() {
  local name=$1 key how count
  count=$(wc --lines <"$WORK/different")
  if ((${#PARTS_DIFFERENT[@]} > PARTS_AT_ONCE)); then
    say "  rows that differ: $count in the first $PARTS_AT_ONCE of ${#PARTS_DIFFERENT[@]} parts that may differ (of ${PART_COUNT[$name]})"
  else
    say "  rows that differ: $count"
  fi
  while IFS= read -r key; do
    how="has other values in B"
    grep --quiet "^row $key " "$WORK/b" || how="is missing in B"
    grep --quiet "^row $key " "$WORK/a" || how="is only in B"
    say "  $(key_print "$key") $how"
  done < <(head --lines="$KEYS_MAX" "$WORK/different")
  ((count <= KEYS_MAX)) || say "  …"
  [[ -z $RETYPED ]] || say "  other types in B, whose text may differ for the same value: $RETYPED"
  say "  -> in A: select replication.resend('${name//\'/\'\'}')   (sends the table again; B's rows become A's)"
}

# A key as the outbox has it, (42), from its hexadecimal form. What would move a terminal's cursor is shown as "?".
key_print() { printf '%b' "$(printf '%s' "$1" | sed 's/../\\x&/g')" | tr '[:cntrl:]' '?'; }
