//! Starts that must be refused, signals, and messages: what an operator does wrong.
