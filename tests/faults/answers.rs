//! Answers at the edges of fields and versions: what a client gets that Apache Kafka would not send.
