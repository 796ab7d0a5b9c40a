//! Listeners, connections, requests.

use super::prelude::*;

keys! {
    "advertised.listeners" => LIST, Null, NON_EMPTY_OR_NULL_LIST, HIGH, READ_ONLY, AT_START;
        "Addresses that clients are told to connect to, if not those of listeners.";
    "connection.failed.authentication.delay.ms" => INT, Is("100"), at_least(0.0), LOW, READ_ONLY, WARNS;
        "Delay before a connection that failed to authenticate is closed, milliseconds.";
    "connections.max.idle.ms" => LONG, Is("600000"), ANY, MEDIUM, READ_ONLY, AT_START;
        "Idle time after which a connection is closed, milliseconds; negative means never.";
    "early.start.listeners" => LIST, Null, NULLABLE_LIST, HIGH, READ_ONLY, WARNS;
        "Listeners that open before authorization is ready.";
    "fetch.max.bytes" => INT, Is("57671680"), at_least(1024.0), MEDIUM, READ_ONLY, AT_START;
        "Most bytes of one fetch response.";
    "inter.broker.listener.name" => STRING, Null, ANY, MEDIUM, READ_ONLY, AT_START;
        "The listener that brokers use among themselves.";
    "listener.security.protocol.map" => STRING, Is("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), ANY, LOW, PER_BROKER, AT_START;
        "The security protocol of each listener name.";
    "listeners" => LIST, Is("PLAINTEXT://:9092"), NON_EMPTY_LIST, HIGH, PER_BROKER, AT_START;
        "Addresses to listen on, as NAME://host:port; an empty host means all interfaces.";
    "max.connection.creation.rate" => INT, Is("2147483647"), at_least(0.0), MEDIUM, CLUSTER_WIDE, NO_RATE;
        "Most new connections per second.";
    "max.connections" => INT, Is("2147483647"), at_least(0.0), MEDIUM, CLUSTER_WIDE, WORKS;
        "Most connections of this broker.";
    "max.connections.per.ip" => INT, Is("2147483647"), at_least(0.0), MEDIUM, CLUSTER_WIDE, WORKS;
        "Most connections from one address.";
    "max.connections.per.ip.overrides" => STRING, Is(""), ANY, MEDIUM, CLUSTER_WIDE, WORKS;
        "Other limits for some addresses, as address:count.";
    "max.incremental.fetch.session.cache.slots" => INT, Is("1000"), at_least(0.0), MEDIUM, READ_ONLY, AT_START;
        "Most fetch sessions kept.";
    "max.request.partition.size.limit" => INT, Is("2000"), at_least(1.0), MEDIUM, READ_ONLY, AT_START;
        "Most partitions of one DescribeTopicPartitions response.";
    "num.network.threads" => INT, Is("3"), at_least(1.0), HIGH, CLUSTER_WIDE, NO_THREADS;
        "Network threads; Ottla runs one thread per core.";
    "queued.max.request.bytes" => LONG, Is("-1"), ANY, MEDIUM, READ_ONLY, WARNS;
        "Bytes of requests that may wait; Ottla has budgets per connection and core instead.";
    "queued.max.requests" => INT, Is("500"), at_least(1.0), HIGH, READ_ONLY, NO_THREADS;
        "Requests that may wait; Ottla has budgets per connection and core instead.";
    "socket.connection.setup.timeout.max.ms" => LONG, Is("30000"), ANY, MEDIUM, READ_ONLY, ALONE;
        "Longest wait for a connection to another node, milliseconds.";
    "socket.connection.setup.timeout.ms" => LONG, Is("10000"), ANY, MEDIUM, READ_ONLY, ALONE;
        "First wait for a connection to another node, milliseconds.";
    "socket.listen.backlog.size" => INT, Is("50"), at_least(1.0), MEDIUM, READ_ONLY, WARNS;
        "Connections that may wait to be accepted.";
    "socket.receive.buffer.bytes" => INT, Is("102400"), ANY, HIGH, READ_ONLY, WARNS;
        "Receive buffer of clients' sockets, bytes; -1 leaves it to the kernel.";
    "socket.request.max.bytes" => INT, Is("104857600"), at_least(1.0), HIGH, READ_ONLY, AT_START;
        "Largest request accepted, bytes.";
    "socket.send.buffer.bytes" => INT, Is("102400"), ANY, HIGH, READ_ONLY, WARNS;
        "Send buffer of clients' sockets, bytes; -1 leaves it to the kernel.";
    "telemetry.max.bytes" => INT, Is("1048576"), at_least(1.0), LOW, READ_ONLY, WARNS;
        "Largest metrics push accepted from a client, bytes.";
}
