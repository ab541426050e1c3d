//! What outbox-publisher decides, apart from what it does: `main.rs` has the threads, the connections and the
//! statements that these rules are for.

pub mod rules;
