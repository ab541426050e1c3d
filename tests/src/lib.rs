//! End-to-end stories; see `stories/`.
