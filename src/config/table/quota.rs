//! Quotas.

use super::prelude::*;

keys! {
    "alter.log.dirs.replication.quota.window.num" => INT, Is("11"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Samples kept for the quota on moves between log directories.";
    "alter.log.dirs.replication.quota.window.size.seconds" => INT, Is("1"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Length of one sample of that quota, seconds.";
    "client.quota.callback.class" => CLASS, Null, ANY, LOW, READ_ONLY, NO_QUOTA;
        "Java class that computes client quotas.";
    "controller.quota.window.num" => INT, Is("11"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Samples kept for the quota on changes to topics.";
    "controller.quota.window.size.seconds" => INT, Is("1"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Length of one sample of that quota, seconds.";
    "quota.window.num" => INT, Is("11"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Samples kept for client quotas.";
    "quota.window.size.seconds" => INT, Is("1"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Length of one sample of client quotas, seconds.";
    "replication.quota.window.num" => INT, Is("11"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Samples kept for the replication quota.";
    "replication.quota.window.size.seconds" => INT, Is("1"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Length of one sample of that quota, seconds.";
    "follower.replication.throttled.rate" => LONG, Is("9223372036854775807"), at_least(0.0), MEDIUM, CLUSTER_WIDE, ALONE;
        "Most bytes per second that throttled followers fetch.";
    "leader.replication.throttled.rate" => LONG, Is("9223372036854775807"), at_least(0.0), MEDIUM, CLUSTER_WIDE, ALONE;
        "Most bytes per second that leaders send to throttled followers.";
    "replica.alter.log.dirs.io.max.bytes.per.second" => LONG, Is("9223372036854775807"), at_least(0.0), MEDIUM, CLUSTER_WIDE, ALONE;
        "Most bytes per second moved between log directories.";
}
