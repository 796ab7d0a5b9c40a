//! A load on a broker, and the check that the broker kept it.
//!
//! One thread drives all connections with an event loop, so that one core can load a broker on another. With a rate
//! the loop is open: a record's latency counts from the moment when it should have been sent, so a stall of the broker
//! is seen by every record that it delays. Every run checks that no record is lost, doubled, out of order or changed.
//!
//! Used by `ottla bench` and by `perf/`.

mod cases;
mod suite;

mod churn;
mod load;
mod run;

mod client;
mod consumer;
mod producer;
mod socket;

mod check;
mod template;

mod metric;
mod outcome;
pub mod process;
pub mod table;

mod error;

pub use cases::{Case, Flush, GROUPS, RateOf, Task, cases};
pub use check::Ledger;
pub use client::{Client, Topic, Versions};
pub use error::BenchError;
pub use load::Load;
pub use metric::{Metric, Sample};
pub use outcome::{Outcome, histogram};
pub use run::{Bench, Moment};
pub use suite::{Found, Place, Timing, run};
