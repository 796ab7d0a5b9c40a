//! Boot, pinning, shutdown.

pub mod format;
