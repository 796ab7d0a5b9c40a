//! Replication and leadership.

use super::prelude::*;

keys! {
    "auto.leader.rebalance.enable" => BOOLEAN, Is("true"), ANY, HIGH, READ_ONLY, WARNS;
        "Move leaders back to their preferred replicas by itself.";
    "controller.socket.timeout.ms" => INT, Is("30000"), ANY, MEDIUM, READ_ONLY, ALONE;
        "Socket timeout towards the controller, milliseconds.";
    "delete.records.purgatory.purge.interval.requests" => INT, Is("1"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Clean-up interval of waiting DeleteRecords requests; Ottla needs none.";
    "fetch.purgatory.purge.interval.requests" => INT, Is("1000"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Clean-up interval of waiting fetches; Ottla needs none.";
    "follower.fetch.last.tiered.offset.enable" => BOOLEAN, Is("false"), ANY, MEDIUM, CLUSTER_WIDE, WARNS;
        "Let new followers begin at the last tiered offset.";
    "leader.imbalance.check.interval.seconds" => LONG, Is("300"), at_least(1.0), HIGH, READ_ONLY, WARNS;
        "Time between searches for leaders away from home, seconds.";
    "num.replica.alter.log.dirs.threads" => INT, Null, ANY, HIGH, READ_ONLY, NO_THREADS;
        "Threads that move replicas between directories.";
    "num.replica.fetchers" => INT, Is("1"), at_least(1.0), HIGH, CLUSTER_WIDE, NO_THREADS;
        "Fetchers towards each other broker.";
    "producer.purgatory.purge.interval.requests" => INT, Is("1000"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Clean-up interval of waiting produce requests; Ottla needs none.";
    "replica.fetch.backoff.ms" => INT, Is("1000"), at_least(0.0), MEDIUM, READ_ONLY, ALONE;
        "Wait after a failed fetch from a leader, milliseconds.";
    "replica.fetch.max.bytes" => INT, Is("1048576"), at_least(0.0), MEDIUM, READ_ONLY, ALONE;
        "Bytes asked for per partition in a follower's fetch.";
    "replica.fetch.min.bytes" => INT, Is("1"), ANY, HIGH, READ_ONLY, ALONE;
        "Fewest bytes of a reply to a follower's fetch.";
    "replica.fetch.response.max.bytes" => INT, Is("10485760"), at_least(0.0), MEDIUM, READ_ONLY, ALONE;
        "Most bytes of a reply to a follower's fetch.";
    "replica.fetch.wait.max.ms" => INT, Is("500"), ANY, HIGH, READ_ONLY, ALONE;
        "Longest wait of a follower's fetch, milliseconds.";
    "replica.high.watermark.checkpoint.interval.ms" => LONG, Is("5000"), ANY, HIGH, READ_ONLY, ALONE;
        "Time between writes of the high watermarks, milliseconds.";
    "replica.lag.time.max.ms" => LONG, Is("30000"), ANY, HIGH, READ_ONLY, ALONE;
        "Time a follower may lag before it leaves the ISR, milliseconds.";
    "replica.selector.class" => STRING, Null, ANY, MEDIUM, READ_ONLY, WARNS;
        "Java class that picks the replica to read from.";
    "replica.socket.receive.buffer.bytes" => INT, Is("65536"), ANY, HIGH, READ_ONLY, ALONE;
        "Receive buffer of followers' sockets, bytes.";
    "replica.socket.timeout.ms" => INT, Is("30000"), ANY, HIGH, READ_ONLY, ALONE;
        "Socket timeout of followers, milliseconds.";
    "request.timeout.ms" => INT, Is("30000"), ANY, HIGH, READ_ONLY, WARNS;
        "Time to wait for a reply from another broker, milliseconds.";
    "share.fetch.purgatory.purge.interval.requests" => INT, Is("1000"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Clean-up interval of waiting share fetches; Ottla needs none.";
    "unclean.leader.election.enable" => BOOLEAN, Is("false"), ANY, HIGH, CLUSTER_WIDE, WARNS;
        "Allow a replica that is not in sync to lead, at the price of lost records.";
    "unclean.leader.election.interval.ms" => LONG, Is("300000"), at_least(1.0), MEDIUM, READ_ONLY, WARNS, INTERNAL;
        "Time between searches for partitions that need such a leader, milliseconds.";
}
