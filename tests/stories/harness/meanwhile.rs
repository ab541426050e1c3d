//! Work that is repeated while something else happens.

use std::sync::atomic::{AtomicBool, Ordering};

/// Repeats each `work` on a thread of its own while `body` runs; ends them also if `body` panics.
pub(crate) fn meanwhile<T>(works: impl IntoIterator<Item: FnMut() + Send>, body: impl FnOnce() -> T) -> T {
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for mut work in works {
            let running = &running;
            scope.spawn(move || {
                while running.load(Ordering::Acquire) {
                    work();
                }
            });
        }
        let _ends = Ends(&running);
        body()
    })
}

/// Ends the work when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
