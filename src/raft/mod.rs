//! The quorum behind `__cluster_metadata`: for now a single voter.
