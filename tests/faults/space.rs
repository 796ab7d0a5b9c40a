//! Errors before anything was written: no descriptors, no space.
