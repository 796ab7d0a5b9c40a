//! Partitions on disk, in Apache Kafka's format.
