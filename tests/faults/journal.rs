//! What a kill, a deletion or another broker on the directory makes of acknowledged records.
