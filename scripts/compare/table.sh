# shellcheck shell=bash
# The comparison of one table. Its rows are dealt into parts by a hash of their key. First the parts are compared, by a
# checksum of each; then, of the parts that differ, the rows. Either reading is exact by itself: B's position says
# which rows of A are on their way.

# Parts whose rows are looked at, of those that differ; a part has about a thousand rows.
readonly PARTS_MAX=200
# Keys that are named.
readonly KEYS_MAX=5
# Before what differs is looked at again.
readonly SECOND_LOOK_S=2

table_compare() {
  local name=$1 rows on_their_way
  PROBLEM=''
  if ! columns_choose "$name" || ! parts_compare "$name" || ! rows_compare "$name"; then
    conclude 2 "$name" "${RED}not compared${PLAIN}: $PROBLEM"
    return
  fi
  rows=$(awk '$1 == "part" { rows += $3 } END { print rows + 0 }' "$WORK/parts")
  if [[ -s $WORK/different ]]; then
    conclude 1 "$name" "${RED}different${PLAIN}: $rows rows in A"
    different_print "$name"
  else
    on_their_way=$(wc --lines <"$WORK/pending")
    conclude 0 "$name" "${GREEN}equal${PLAIN}: $rows rows in A$( ((on_their_way == 0)) || printf ', of which %d may be on their way' "$on_their_way")"
  fi
  [[ -z $MISSING ]] || say "  not compared, since B lacks them: $MISSING"
}

# conclude STATUS NAME TEXT
conclude() {
  ((STATUS >= $1)) || STATUS=$1
  say "$(printf '%-24s' "$2") $3"
}

# Sets COMMON (JSON), the columns that both have, and MISSING and RETYPED, those that B lacks or has as something else.
columns_choose() {
  local lines
  side_read b columns.sql --set=table="${QUOTED[$1]}" --set=columns="${COLUMNS[$1]}" >"$WORK/columns" || {
    PROBLEM="B says: $(side_error b)"
    return 1
  }
  mapfile -t lines <"$WORK/columns"
  COMMON=${lines[0]} MISSING=${lines[1]:-} RETYPED=${lines[2]:-}
}

# Sets PARTS_DIFFERENT.
parts_compare() {
  sides_read "$1" '' || return 1
  grep '^part ' "$WORK/a" >"$WORK/parts" || true
  mapfile -t PARTS_DIFFERENT < <(lines_of_one_side part | cut --delimiter=' ' --fields=2 | sort --unique)
}

# Leaves in the file "different" the keys that differ, in "pending" those that were changed in A since.
rows_compare() {
  local look parts=("${PARTS_DIFFERENT[@]:0:PARTS_MAX}")
  : >"$WORK/different"
  : >"$WORK/pending"
  [[ ${#parts[@]} -gt 0 ]] || return 0
  for look in first second; do
    [[ $look == first ]] || sleep "$SECOND_LOOK_S"
    sides_read "$1" "$(IFS=, && printf '%s' "${parts[*]}")" || return 1
    sed --quiet 's/^pending //p' "$WORK/a" | sort >"$WORK/pending"
    lines_of_one_side row | cut --delimiter=' ' --fields=2 | sort --unique | comm -23 - "$WORK/pending" >"$WORK/$look"
    [[ -s $WORK/$look ]] || return 0
  done
  comm -12 "$WORK/first" "$WORK/second" >"$WORK/different"
}

# The lines of a kind that only one side has.
lines_of_one_side() {
  comm -3 <(sed --quiet "/^$1 /p" "$WORK/a" | sort) <(sed --quiet "/^$1 /p" "$WORK/b" | sort) | tr --delete '\t'
}

# sides_read NAME PARTS: leaves in the files "a" and "b" what rows.sql tells, of all parts or of some.
sides_read() {
  local name=$1 count=${PART_COUNT[$1]} reader position='' tick='' tick_id='' arguments
  arguments=(--set=name="$name" --set=table="${QUOTED[$name]}" --set=keys="${KEYS[$name]}" --set=columns="$COMMON"
    --set=mask="$((count - 1))" --set=parts="$2")
  : >"$WORK/b"
  side_read b rows.sql --set=in_target=true "${arguments[@]}" >"$WORK/b" &
  reader=$!
  while [[ -z $position ]] && kill -0 "$reader" 2>/dev/null; do
    sleep 0.02
    position=$(grep --max-count=1 '^position' "$WORK/b") || true
  done
  # A's moment comes after B's, and B goes on reading.
  if [[ -n $position ]]; then
    read -r _ tick tick_id <<<"$position"
    side_read a rows.sql --set=in_target=false --set=tick="$tick" --set=tick_id="$tick_id" "${arguments[@]}" >"$WORK/a" \
      || PROBLEM="A says: $(side_error a)"
  fi
  wait "$reader" || PROBLEM="B says: $(side_error b)"
  [[ $(head --lines=1 "$WORK/a") != emptied ]] \
    || PROBLEM="it was emptied or sent again in A, and that is on its way; run this again when B has it"
  [[ -z $PROBLEM ]]
}

different_print() {
  local name=$1 key how count
  count=$(wc --lines <"$WORK/different")
  if ((${#PARTS_DIFFERENT[@]} > PARTS_MAX)); then
    say "  rows that differ: $count in $PARTS_MAX parts of the table, and ${#PARTS_DIFFERENT[@]} of its ${PART_COUNT[$name]} parts have such"
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
  [[ -z $RETYPED ]] || say "  other types in B, which may write the same value differently: $RETYPED"
  say "  -> in A: select replication.resend('${QUOTED[$name]//\'/\'\'}'), which makes B's rows what A's are"
}

# A key as the outbox has it, (42), from its hexadecimal form. What would move a terminal's cursor is shown as "?".
key_print() { printf '%b' "$(printf '%s' "$1" | sed 's/../\\x&/g')" | tr '[:cntrl:]' '?'; }
