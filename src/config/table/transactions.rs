//! Transactions and producer ids.

use super::prelude::*;

keys! {
    "add.partitions.to.txn.retry.backoff.max.ms" => INT, Is("100"), at_least(0.0), HIGH, READ_ONLY, WARNS;
        "Longest wait while the broker retries adding a partition to a transaction, milliseconds.";
    "add.partitions.to.txn.retry.backoff.ms" => INT, Is("20"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Wait between the broker's tries to add a partition to a transaction, milliseconds.";
    "producer.id.expiration.check.interval.ms" => INT, Is("600000"), at_least(1.0), LOW, READ_ONLY, WARNS, INTERNAL;
        "Time between searches for expired producer ids, milliseconds.";
    "producer.id.expiration.ms" => INT, Is("86400000"), at_least(1.0), LOW, CLUSTER_WIDE, WORKS;
        "Idle time after which a partition forgets a producer id, milliseconds.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" => INT, Is("10000"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Time between searches for transactions that timed out, milliseconds.";
    "transaction.max.timeout.ms" => INT, Is("900000"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Largest transaction timeout a producer may ask for, milliseconds.";
    "transaction.partition.verification.enable" => BOOLEAN, Is("true"), ANY, LOW, CLUSTER_WIDE, WARNS;
        "Check that a partition belongs to the transaction before a write.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" => INT, Is("3600000"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Time between searches for expired transactional ids, milliseconds.";
    "transaction.state.log.load.buffer.size" => INT, Is("5242880"), at_least(1.0), HIGH, READ_ONLY, OWN_MEMORY;
        "Bytes read at a time when transactions are loaded.";
    "transaction.state.log.min.isr" => INT, Is("2"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "min.insync.replicas of __transaction_state.";
    "transaction.state.log.num.partitions" => INT, Is("50"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Partitions of __transaction_state.";
    "transaction.state.log.replication.factor" => SHORT, Is("3"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Replicas of __transaction_state.";
    "transaction.state.log.segment.bytes" => INT, Is("104857600"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Segment size of __transaction_state, bytes.";
    "transaction.two.phase.commit.enable" => BOOLEAN, Is("false"), ANY, LOW, READ_ONLY, WARNS;
        "Allow transactions that an outside coordinator completes.";
    "transactional.id.expiration.ms" => INT, Is("604800000"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Idle time after which a transactional id is forgotten, milliseconds.";
}
