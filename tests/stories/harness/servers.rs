//! The servers that `test-replication.sh` starts for the stories.

use shared::config::Environment;
use std::path::PathBuf;

/// What `test-replication.sh` says about its servers.
pub(super) struct Servers {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) nats_a: String,
    pub(super) nats_b: String,
    /// Of each service's user.
    pub(super) nats_password: String,
    pub(super) operator_password: String,
    pub(super) binaries: PathBuf,
    /// Of the last landed version; none where they could not be built.
    pub(super) older_binaries: Option<PathBuf>,
    /// Programs of a PostgreSQL that is not older than these.
    pub(super) upgraded_postgres: String,
    pub(super) logs: PathBuf,
}

impl Servers {
    pub(super) fn from_env() -> Servers {
        let environment = Environment::read();
        let get = |name: &str| {
            environment
                .optional(name)
                .unwrap_or_else(|| panic!("{name} is not set: run these tests with ./test-replication.sh"))
                .to_owned()
        };
        let logs = PathBuf::from(get("TEST_RUN_DIR")).join("log/stories");
        std::fs::create_dir_all(&logs).unwrap();
        Servers {
            source: get("TEST_SOURCE_URL"),
            target: get("TEST_TARGET_URL"),
            nats_a: get("TEST_NATS_A"),
            nats_b: get("TEST_NATS_B"),
            nats_password: get("TEST_NATS_PASSWORD"),
            operator_password: get("TEST_NATS_OPERATOR_PASSWORD"),
            binaries: PathBuf::from(get("TEST_BIN_DIR")),
            older_binaries: environment.optional("TEST_OLDER_SERVICES_DIR").map(PathBuf::from),
            upgraded_postgres: get("TEST_UPGRADED_POSTGRES_BIN"),
            logs,
        }
    }
}
