//! One log format for all services: UTC time to the millisecond, level, module, message.

/// Starts logging to standard error.
///
/// `RUST_LOG` chooses the levels and defaults to `info`.
pub fn start() {
    let default = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(default)
        .format_timestamp_millis()
        .format(|out, record| {
            use std::io::Write;
            writeln!(
                out,
                "{} {:<5} {}: {}",
                out.timestamp_millis(),
                record.level(),
                record.target(),
                record.args()
            )
        })
        .init();
}
