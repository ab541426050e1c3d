//! Places between two steps of the protocol where a test can have a service die. Only with the cargo feature
//! `kill-points`; a build without it contains nothing of this.

/// Ends the process at once, as kill -9 would, if the file that `KILL_POINT` names says `point`. The file is
/// removed first, so that the next start continues.
#[cfg(feature = "kill-points")]
pub fn reached(point: &str) {
    use crate::config::Environment;
    use std::sync::OnceLock;

    static TOKEN: OnceLock<Option<String>> = OnceLock::new();
    let token = TOKEN.get_or_init(|| Environment::read().optional("KILL_POINT").map(str::to_owned));
    let Some(token) = token else { return };
    if std::fs::read_to_string(token).is_ok_and(|armed| armed == point) && std::fs::remove_file(token).is_ok()
    {
        std::process::abort();
    }
}

/// Does nothing: this build has no kill points.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub fn reached(_point: &str) {}
