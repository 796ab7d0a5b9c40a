//! The process itself.

use super::prelude::*;

keys! {
    "alter.config.policy.class.name" => CLASS, Null, ANY, LOW, READ_ONLY, NO_POLICY;
        "Java class that judges configuration changes.";
    "background.threads" => INT, Is("10"), at_least(1.0), HIGH, CLUSTER_WIDE, NO_THREADS;
        "Threads for background work; Ottla runs one thread per core.";
    "broker.id" => INT, Is("-1"), ANY, HIGH, READ_ONLY, AT_START;
        "Older name of node.id; both must agree.";
    "broker.rack" => STRING, Null, ANY, MEDIUM, READ_ONLY, AT_START;
        "The rack or zone of this broker.";
    "config.providers" => LIST, Is(""), ANY_LIST, LOW, CLUSTER_WIDE, WARNS;
        "Providers that replace variables in configuration values.";
    "controlled.shutdown.enable" => BOOLEAN, Is("true"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Hand over leadership before stopping.";
    "create.topic.policy.class.name" => CLASS, Null, ANY, LOW, READ_ONLY, NO_POLICY;
        "Java class that judges new topics.";
    "kafka.metrics.polling.interval.secs" => INT, Is("10"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Polling interval of Java metrics reporters, seconds.";
    "kafka.metrics.reporters" => LIST, Is(""), ANY_LIST, LOW, READ_ONLY, NO_REPORTER;
        "Java classes that report broker metrics.";
    "metric.reporters" => LIST, Is("org.apache.kafka.common.metrics.JmxReporter"), ANY_LIST, LOW, CLUSTER_WIDE, NO_REPORTER;
        "Java classes that report metrics.";
    "metrics.num.samples" => INT, Is("2"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Samples kept to compute metrics.";
    "metrics.recording.level" => STRING, Is("INFO"), ANY, LOW, READ_ONLY, WARNS;
        "Detail of recorded metrics.";
    "metrics.sample.window.ms" => LONG, Is("30000"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Length of one metrics sample, milliseconds.";
    "node.id" => INT, Required, at_least(0.0), HIGH, READ_ONLY, AT_START;
        "The id of this node in the cluster.";
    "num.io.threads" => INT, Is("8"), at_least(1.0), HIGH, CLUSTER_WIDE, NO_THREADS;
        "Request threads; Ottla runs one thread per core.";
    "process.roles" => LIST, Required, list_of(&["broker", "controller"], false, false), HIGH, READ_ONLY, AT_START;
        "What this node does: broker, controller, or both.";
    "unstable.api.versions.enable" => BOOLEAN, Is("false"), ANY, HIGH, READ_ONLY, WARNS, INTERNAL;
        "Offer request versions that are still in development.";
    "unstable.feature.versions.enable" => BOOLEAN, Is("false"), ANY, HIGH, READ_ONLY, WARNS, INTERNAL;
        "Offer feature versions that are still in development.";
}
