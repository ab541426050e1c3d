//! One look at a table: what is known to differ again, and its next slice.

use super::asking::Asker;
use super::results::{self, Findings, Known, Slice};
use super::rows::{Attached, Reading, Rows};
use crate::leadership::Term;
use anyhow::{Context, Result, bail, ensure};
use outbox_publisher::rules::verdicts::{Kind, judge, undecided};
use shared::supervisor::Stop;
use shared::wire::{Answer, Compare, Compared, KeyHash, KeyRange, Message, Snapshot, TOO_MUCH};

/// Answers to one slice: the target may have more rows in the range than one answer takes.
const ANSWERS_MAX: usize = 20;
/// After this many, columns that the target cannot compare are not asked for again.
const COLUMNS_ASKED_MAX: usize = 2;
/// Slices get shorter while one takes too long, down to this.
const ROWS_MIN: usize = 16;

/// What is remembered of a table from look to look, while its shape is the same.
pub(super) struct Remembered {
    shape: i32,
    /// Those that both sides can compare.
    columns: Vec<String>,
    rows_max: usize,
}

impl Remembered {
    pub(super) fn new(table: &Attached, rows_max: usize) -> Remembered {
        Remembered { shape: table.shape.id, columns: table.shape.columns.clone(), rows_max }
    }

    pub(super) fn is_of(&self, table: &Attached) -> bool {
        self.shape == table.shape.id
    }

    /// A slice took too long: the next one has half its rows.
    pub(super) fn shorten(&mut self) {
        self.rows_max = (self.rows_max / 2).max(ROWS_MIN);
    }

    /// A slice was read in time: the next one may have twice its rows.
    fn lengthen(&mut self, rows_max: usize) {
        self.rows_max = (self.rows_max * 2).min(rows_max);
    }
}

/// What is needed to look.
pub(super) struct Looking<'a> {
    pub(super) term: &'a Term,
    pub(super) stop: &'a Stop,
    pub(super) rows: &'a mut Rows,
    pub(super) asker: &'a mut Asker,
    pub(super) target: &'a str,
    /// `VERIFY_ROWS`.
    pub(super) rows_max: usize,
}

/// What was found of the rows that were asked about.
#[derive(Default)]
struct Found {
    tick: i64,
    different: Vec<(String, Kind)>,
    /// Keys of which it is not known: they were changed meanwhile.
    changed: Vec<String>,
}

impl Looking<'_> {
    /// Looks at a table, and stores what was found. An error says why nothing could be found.
    pub(super) fn look(
        &mut self,
        table: &Attached,
        remembered: &mut Remembered,
        findings: Findings<'_>,
    ) -> Result<()> {
        let known = results::known(self.rows.client(), table)?;
        if !known.evidence.is_empty() {
            self.look_at_evidence(table, remembered, &known, findings)?;
        }
        self.look_at_slice(table, remembered, &known, findings)
    }

    fn look_at_evidence(
        &mut self,
        table: &Attached,
        remembered: &mut Remembered,
        known: &Known,
        findings: Findings<'_>,
    ) -> Result<()> {
        let keys: Vec<&str> = known.evidence.iter().map(String::as_str).collect();
        let found = self.compare(table, remembered, None, |rows, columns| {
            rows.of_keys(table, columns, &keys).map(|reading| (reading, None))
        })?;
        let is_open = |key: &String| {
            found.changed.contains(key) || found.different.iter().any(|(different, _)| different == key)
        };
        let same: Vec<String> = known.evidence.iter().filter(|key| !is_open(key)).cloned().collect();
        findings.store_evidence(self.rows.client(), found.tick, &same, &found.different)
    }

    fn look_at_slice(
        &mut self,
        table: &Attached,
        remembered: &mut Remembered,
        known: &Known,
        findings: Findings<'_>,
    ) -> Result<()> {
        let (after, rows_max) = (known.verified_up_to.clone(), remembered.rows_max);
        let (mut read, mut up_to) = (0, None);
        let found = self.compare(table, remembered, Some(&after), |rows, columns| {
            let reading = rows.slice(table, columns, after.as_deref(), rows_max)?;
            read = reading.rows.len();
            let is_last = read < rows_max && !is_cut(&reading.rows);
            up_to = reading.rows.last().filter(|_| !is_last).map(|row| row.0.clone());
            Ok((reading, up_to.clone()))
        })?;
        remembered.lengthen(self.rows_max);
        let not_compared = not_compared(table, &remembered.columns);
        let slice = Slice { tick: found.tick, rows: read, up_to, not_compared };
        findings.store_slice(self.rows.client(), &slice, &found.different)
    }

    /// Asks the target for the rows that `read` reads, which says where they end, too. In a range from behind
    /// `after`, rows that only the target has count as well.
    fn compare(
        &mut self,
        table: &Attached,
        remembered: &mut Remembered,
        after: Option<&Option<String>>,
        mut read: impl FnMut(&mut Rows, &[String]) -> Result<(Reading, Option<String>)>,
    ) -> Result<Found> {
        for _ in 0..=COLUMNS_ASKED_MAX {
            let (reading, up_to) = read(self.rows, &remembered.columns)?;
            let range = after.map(|after| KeyRange { after: after.clone(), up_to });
            match self.ask_for_all(table, &remembered.columns, reading, range)? {
                Asked::Found(found) => return Ok(found),
                Asked::Columns(columns) => remembered.columns = usable(table, &columns)?,
            }
        }
        bail!("the target wants other columns again and again")
    }

    fn ask_for_all(
        &mut self,
        table: &Attached,
        columns: &[String],
        reading: Reading,
        mut range: Option<KeyRange>,
    ) -> Result<Asked> {
        let Reading { snapshot, tick, mut rows } = reading;
        let mut found = Found::default();
        for _ in 0..ANSWERS_MAX {
            let compare = Compare {
                snapshot: snapshot.clone(),
                tick,
                columns: columns.to_vec(),
                range: range.clone(),
                rows: std::mem::take(&mut rows),
            };
            let compared = match self.ask(table, compare)? {
                Answer::Compared(compared) => compared,
                Answer::Columns(columns) => return Ok(Asked::Columns(columns)),
                Answer::Unknown(reason) => bail!("{reason}"),
            };
            self.judge(table, columns, &compared, &mut found)?;
            match (&mut range, compared.more_after) {
                (Some(range), Some(more_after)) => range.after = Some(more_after),
                _ => return Ok(Asked::Found(found)),
            }
        }
        bail!("the target has more rows between two keys of the source than could be looked at")
    }

    fn ask(&mut self, table: &Attached, compare: Compare) -> Result<Answer> {
        let message = Message::Compare(compare);
        let answer = self.asker.ask((self.term, self.stop), self.target, &table.shape, message)?;
        answer.with_context(|| self.asker.silence())
    }

    /// Which of the rows that differ at first sight do differ.
    fn judge(
        &mut self,
        table: &Attached,
        columns: &[String],
        compared: &Compared,
        found: &mut Found,
    ) -> Result<()> {
        found.tick = compared.tick;
        if compared.differing.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = compared.differing.iter().map(|KeyHash(key, _)| key.as_str()).collect();
        let shown: &Snapshot = &compared.snapshot;
        let (in_source, since) = self.rows.look_again(table, columns, &keys, shown)?;
        if let Some(reason) = undecided(&since) {
            bail!("{reason}");
        }
        let verdicts = judge(&compared.differing, &in_source, &since);
        found.different.extend(verdicts.different);
        found.changed.extend(verdicts.changed);
        Ok(())
    }
}

/// An answer, all of it.
enum Asked {
    Found(Found),
    /// The target can compare these columns only.
    Columns(Vec<String>),
}

/// Whether an error, or what the target says, means that a shorter slice may do.
pub(super) fn is_too_much(error: &anyhow::Error) -> bool {
    shared::fault::fault_of(error) == shared::fault::Fault::OutOfTime
        || error.chain().any(|cause| cause.to_string().starts_with(TOO_MUCH))
}

/// Whether the slice ended because its keys are long.
fn is_cut(rows: &[KeyHash]) -> bool {
    rows.iter().map(|row| row.0.len()).sum::<usize>() >= shared::wire::SLICE_BYTES_MAX
}

/// The columns that the target can compare, in the table's order. Fails where these are not the table's, or
/// lack its key.
fn usable(table: &Attached, wanted: &[String]) -> Result<Vec<String>> {
    let columns: Vec<String> =
        table.shape.columns.iter().filter(|column| wanted.contains(column)).cloned().collect();
    let has_key = table.shape.key.iter().all(|column| columns.contains(column));
    ensure!(
        has_key && columns.len() == wanted.len(),
        "the target can compare other columns only than {} has",
        table.shape.name()
    );
    Ok(columns)
}

fn not_compared(table: &Attached, columns: &[String]) -> Vec<String> {
    table.shape.columns.iter().filter(|column| !columns.contains(column)).cloned().collect()
}
