//! Per-core counters and histograms.
