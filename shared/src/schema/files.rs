//! The SQL files of each side, and their versions.

/// One numbered file.
pub(super) struct Migration {
    pub(super) version: i32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// One file that can be applied again and again.
pub(super) struct Repeatable {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// Whose objects a database has. A database in the middle of a chain of replications has both sides'.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// What both sides need; applied before either's own.
    Common,
    /// Capture, outbox and ticks.
    Source,
    /// Inbox, positions and `processed_events`.
    Target,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Common => "common",
            Side::Source => "source",
            Side::Target => "target",
        }
    }

    pub(super) fn migrations(self) -> &'static [Migration] {
        match self {
            Side::Common => COMMON,
            Side::Source => SOURCE,
            Side::Target => TARGET,
        }
    }

    pub(super) fn repeatable(self) -> &'static [Repeatable] {
        match self {
            Side::Common => COMMON_REPEATABLE,
            Side::Source => SOURCE_REPEATABLE,
            Side::Target => TARGET_REPEATABLE,
        }
    }

    /// The version of the repeatable files: raised above every number of the side whenever one of them
    /// changes. A test compares it with their text.
    pub(super) fn revision(self) -> i32 {
        match self {
            Side::Common => 13,
            Side::Source => 96,
            Side::Target => 75,
        }
    }

    /// The oldest version whose program works on these objects: that of the release before. So an older service may
    /// lead while the other ones are upgraded, and what is not needed any more goes with the next release.
    pub(super) fn oldest_program(self) -> i32 {
        match self {
            Side::Common => 10,
            Side::Source => 92,
            Side::Target => 71,
        }
    }

    /// The version that this program brings the side's objects to.
    pub fn newest(self) -> i32 {
        self.migrations().last().map_or(0, |migration| migration.version).max(self.revision())
    }
}

macro_rules! migrations {
    ($($version:literal $path:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $path,
            sql: include_str!(concat!("../../../schema/", $path)),
        }),*]
    };
}

macro_rules! repeatable {
    ($($path:literal),* $(,)?) => {
        &[$(Repeatable { name: $path, sql: include_str!(concat!("../../../schema/", $path)) }),*]
    };
}

const COMMON: &[Migration] = migrations![11 "common/011_pause.sql"];
const SOURCE: &[Migration] = migrations![
    1 "source/001_outbox_and_ticks.sql",
    6 "source/006_column_types.sql",
    7 "source/007_terms.sql",
    30 "source/030_history.sql",
    40 "source/040_autovacuum.sql",
    50 "source/050_timeline.sql",
    60 "source/060_capture_identity.sql",
    61 "source/061_recorded_snapshots.sql",
    75 "source/075_skipped_events.sql",
    80 "source/080_capture_holes.sql",
    81 "source/081_cascade.sql",
    83 "source/083_key_collations.sql",
    84 "source/084_moved_keys.sql",
    85 "source/085_heard_target.sql",
    96 "source/096_verification.sql",
];
const TARGET: &[Migration] = migrations![
    1 "target/001_inbox_and_positions.sql",
    3 "target/003_drift.sql",
    30 "target/030_operations.sql",
    40 "target/040_growth.sql",
    50 "target/050_refused_transaction.sql",
    60 "target/060_written.sql",
    62 "target/062_payload_of_any_encoding.sql",
    63 "target/063_as_of.sql",
    70 "target/070_timeline_of_heartbeats.sql",
    75 "target/075_verification.sql",
];

const COMMON_REPEATABLE: &[Repeatable] = repeatable![
    "common/repeatable/locks.sql",
    "common/repeatable/values.sql",
    "common/repeatable/rows_for_people.sql",
    "common/repeatable/key_condition.sql",
    "common/repeatable/verification.sql",
    "common/repeatable/refusals.sql",
    "common/repeatable/remove.sql",
    "common/repeatable/pause.sql",
    "common/repeatable/patterns.sql",
    "common/repeatable/grants.sql",
];
const SOURCE_REPEATABLE: &[Repeatable] = repeatable![
    "source/repeatable/history.sql",
    "source/repeatable/token.sql",
    "source/repeatable/describe.sql",
    "source/repeatable/capture_text.sql",
    "source/repeatable/recorded_snapshots.sql",
    "source/repeatable/capture_parts.sql",
    "source/repeatable/capture.sql",
    "source/repeatable/capture_triggers.sql",
    "source/repeatable/capture_role.sql",
    "source/repeatable/planning.sql",
    "source/repeatable/holes.sql",
    "source/repeatable/attach.sql",
    "source/repeatable/resend.sql",
    "source/repeatable/skip_event.sql",
    "source/repeatable/follow_ddl.sql",
    "source/repeatable/views.sql",
    "source/repeatable/audit.sql",
    "source/repeatable/overview.sql",
    "source/repeatable/trace.sql",
    "source/repeatable/doctor.sql",
    "source/repeatable/verification.sql",
    "source/repeatable/retention.sql",
    "source/repeatable/grants.sql",
];
const TARGET_REPEATABLE: &[Repeatable] = repeatable![
    "target/repeatable/texts_for_people.sql",
    "target/repeatable/views.sql",
    "target/repeatable/barrier.sql",
    "target/repeatable/operations.sql",
    "target/repeatable/written.sql",
    "target/repeatable/owners_code.sql",
    "target/repeatable/accept.sql",
    "target/repeatable/overview.sql",
    "target/repeatable/trace.sql",
    "target/repeatable/differences.sql",
    "target/repeatable/doctor.sql",
    "target/repeatable/sequences.sql",
    "target/repeatable/retention.sql",
    "target/repeatable/verification.sql",
    "target/repeatable/grants.sql",
];

/// The tables of the demo.
pub const DEMO_TABLES: &str = include_str!("../../../schema/demo/tables.sql");
/// Attaches the demo's tables at the source.
pub const DEMO_ATTACH: &str = include_str!("../../../schema/demo/attach.sql");
/// What the roles of outbox-publisher and data-generator may do in the source of the demo.
pub const DEMO_SOURCE_RIGHTS: &str = include_str!("../../../schema/demo/rights_source.sql");
/// What the role of inbox-processor may do in the target of the demo.
pub const DEMO_TARGET_RIGHTS: &str = include_str!("../../../schema/demo/rights_target.sql");

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a, which is the same everywhere and always.
    fn fingerprint(side: Side) -> u64 {
        let migrations = side.migrations().iter().map(|file| (file.name, file.sql));
        let repeatable = side.repeatable().iter().map(|file| (file.name, file.sql));
        migrations
            .chain(repeatable)
            .flat_map(|(name, sql)| [name, sql])
            .flat_map(str::bytes)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Without a new version, a program from before the change would undo it.
    #[test]
    fn a_changed_file_is_a_new_version() {
        let known = [
            (Side::Common, 13, 0xf3f0_21ae_0e1c_49b8),
            (Side::Source, 96, 0xf914_ae4c_568e_6827),
            (Side::Target, 75, 0xb0a6_c805_8526_a737),
        ];
        for (side, version, expected) in known {
            let actual = fingerprint(side);
            assert!(
                side.newest() == version && actual == expected,
                "the files of schema/{} have changed: where they were released, raise revision() above {}; then \
                 note here: version {}, fingerprint {actual:#018x}",
                side.name(),
                version,
                side.newest()
            );
        }
    }

    /// A database of another encoding may not have a character beyond these.
    #[test]
    fn every_file_is_ascii() {
        for side in [Side::Common, Side::Source, Side::Target] {
            for (name, sql) in side.repeatable().iter().map(|file| (file.name, file.sql)) {
                assert!(sql.is_ascii(), "schema/{name} has a character that is not ASCII");
            }
            for migration in side.migrations() {
                assert!(
                    migration.sql.is_ascii(),
                    "schema/{} has a character that is not ASCII",
                    migration.name
                );
            }
        }
    }

    #[test]
    fn versions_are_in_order() {
        for side in [Side::Common, Side::Source, Side::Target] {
            assert!(side.migrations().is_sorted_by(|one, next| one.version < next.version), "{side:?}");
        }
    }
}
