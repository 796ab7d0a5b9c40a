//! Compaction.

use super::prelude::*;

keys! {
    "log.cleaner.backoff.ms" => LONG, Is("15000"), at_least(0.0), MEDIUM, CLUSTER_WIDE, WARNS;
        "Pause of the cleaner when there is nothing to clean, milliseconds.";
    "log.cleaner.dedupe.buffer.size" => LONG, Is("134217728"), ANY, MEDIUM, CLUSTER_WIDE, OWN_MEMORY;
        "Memory for the cleaner's key maps, bytes.";
    "log.cleaner.delete.retention.ms" => LONG, Is("86400000"), at_least(0.0), MEDIUM, CLUSTER_WIDE, WARNS;
        "How long delete markers stay in compacted topics, milliseconds.";
    "log.cleaner.enable" => BOOLEAN, Is("true"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Whether the cleaner runs.";
    "log.cleaner.io.buffer.load.factor" => DOUBLE, Is("0.9"), ANY, MEDIUM, CLUSTER_WIDE, OWN_MEMORY;
        "How full the cleaner's key map may get.";
    "log.cleaner.io.buffer.size" => INT, Is("524288"), at_least(0.0), MEDIUM, CLUSTER_WIDE, OWN_MEMORY;
        "Memory for the cleaner's reads and writes, bytes.";
    "log.cleaner.io.max.bytes.per.second" => DOUBLE, Is("1.7976931348623157E308"), ANY, MEDIUM, CLUSTER_WIDE, WARNS;
        "Most bytes per second that the cleaner reads and writes.";
    "log.cleaner.max.compaction.lag.ms" => LONG, Is("9223372036854775807"), at_least(1.0), MEDIUM, CLUSTER_WIDE, WARNS;
        "Longest time a record may stay uncompacted, milliseconds.";
    "log.cleaner.min.cleanable.ratio" => DOUBLE, Is("0.5"), between(0.0, 1.0), MEDIUM, CLUSTER_WIDE, WARNS;
        "Share of uncleaned data from which a log is cleaned.";
    "log.cleaner.min.compaction.lag.ms" => LONG, Is("0"), at_least(0.0), MEDIUM, CLUSTER_WIDE, WARNS;
        "Shortest time a record stays uncompacted, milliseconds.";
    "log.cleaner.threads" => INT, Is("1"), at_least(0.0), MEDIUM, CLUSTER_WIDE, NO_THREADS;
        "Threads of the cleaner; Ottla runs one thread per core.";
}
