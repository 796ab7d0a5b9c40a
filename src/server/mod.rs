//! Boot, pinning, shutdown.
