//! Connections that make the broker keep what they do not take.
