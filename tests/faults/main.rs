//! Faults that were once seen from outside, each as a small input with its story. They run against the process; the rules
//! behind them are tested beside the code and in the simulator.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod boot;
mod damage;
mod groups;
mod journal;
mod memory;
mod operator;
mod space;
mod versions;
mod work;
