//! One core's share of the broker.
