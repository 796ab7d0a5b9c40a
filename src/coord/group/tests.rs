//! The coordinator in virtual time.
