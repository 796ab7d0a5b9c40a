//! Coordinators as pure state machines.
