//! Keys of a group (`GroupConfig`, KIP-848, KIP-932, KIP-1071).

use super::prelude::*;

keys! {
    "consumer.assignment.interval.ms" => INT, Is("1000"), at_least(0.0), MEDIUM, DYNAMIC, WARNS;
        "Shortest time between two assignments of the group, milliseconds.";
    "consumer.heartbeat.interval.ms" => INT, Is("5000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Heartbeat interval that members are given, milliseconds.";
    "consumer.session.timeout.ms" => INT, Is("45000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Silence after which a member is removed, milliseconds.";
    "share.assignment.interval.ms" => INT, Is("1000"), at_least(0.0), MEDIUM, DYNAMIC, WARNS;
        "Shortest time between two assignments of the share group, milliseconds.";
    "share.auto.offset.reset" => STRING, Is("latest"), ShareOffsetReset, MEDIUM, DYNAMIC, WARNS;
        "Where a share group begins: earliest, latest, or by_duration: and an ISO 8601 duration.";
    "share.delivery.count.limit" => INT, Is("5"), at_least(2.0), MEDIUM, DYNAMIC, WARNS;
        "How often a record is delivered before it is given up.";
    "share.heartbeat.interval.ms" => INT, Is("5000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Heartbeat interval that members of the share group are given, milliseconds.";
    "share.isolation.level" => STRING, Is("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), MEDIUM, DYNAMIC, WARNS;
        "Whether records of open or aborted transactions are delivered.";
    "share.partition.max.record.locks" => INT, Is("2000"), at_least(100.0), MEDIUM, DYNAMIC, WARNS;
        "Most records of one partition that the group may hold locked.";
    "share.record.lock.duration.ms" => INT, Is("30000"), at_least(1000.0), MEDIUM, DYNAMIC, WARNS;
        "How long a share consumer holds a record, milliseconds.";
    "share.renew.acknowledge.enable" => BOOLEAN, Is("true"), ANY, MEDIUM, DYNAMIC, WARNS;
        "Whether a share consumer may prolong its hold on a record.";
    "share.session.timeout.ms" => INT, Is("45000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Silence after which a member of the share group is removed, milliseconds.";
    "streams.assignment.interval.ms" => INT, Is("1000"), at_least(0.0), MEDIUM, DYNAMIC, WARNS;
        "Shortest time between two assignments of the streams group, milliseconds.";
    "streams.heartbeat.interval.ms" => INT, Is("5000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Heartbeat interval that members of the streams group are given, milliseconds.";
    "streams.initial.rebalance.delay.ms" => INT, Is("3000"), at_least(0.0), MEDIUM, DYNAMIC, WARNS;
        "Time a new streams group waits for more members, milliseconds.";
    "streams.num.standby.replicas" => INT, Is("0"), at_least(0.0), MEDIUM, DYNAMIC, WARNS;
        "Standby replicas of each task.";
    "streams.session.timeout.ms" => INT, Is("45000"), at_least(1.0), MEDIUM, DYNAMIC, WARNS;
        "Silence after which a member of the streams group is removed, milliseconds.";
}
