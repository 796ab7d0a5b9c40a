//! Configurations.

use super::*;

#[test]
fn configurations_change_by_operation() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    let ok = ApiError::NONE;
    assert_eq!(cluster.alter(2, "a", &[("retention.ms", set, Some("5"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "retention.ms"), Some("5"));
    let before = cluster.log.len();
    assert_eq!(cluster.alter(2, "a", &[("retention.ms", set, Some("5"))]), ok);
    assert_eq!(cluster.log.len(), before, "an equal value is no change");
    assert_eq!(cluster.alter(2, "a", &[("cleanup.policy", append, Some("compact"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "cleanup.policy"), Some("delete,compact"));
    assert_eq!(cluster.alter(2, "a", &[("cleanup.policy", subtract, Some("delete"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "cleanup.policy"), Some("compact"));
    assert_eq!(
        cluster.alter(2, "a", &[("retention.ms", delete, None), ("cleanup.policy", delete, None)]),
        ok
    );
    assert!(cluster.controller.image().configs().get(ResourceKind::Topic, "a").is_none());

    assert_eq!(cluster.alter(4, "", &[("log.retention.ms", set, Some("77"))]), ok);
    assert_eq!(cluster.alter(4, "1", &[("log.cleaner.threads", set, Some("2"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Broker, "1", "log.cleaner.threads"), Some("2"));
    assert_eq!(cluster.alter(32, "g", &[("consumer.session.timeout.ms", set, Some("50000"))]), ok);
    assert_eq!(cluster.alter(16, "s", &[("interval.ms", set, Some("1000"))]), ok);
    assert_eq!(cluster.value(ResourceKind::ClientMetrics, "s", "interval.ms"), Some("1000"));
}

/// Resource type and name, key, operation, value; error code and part of the message.
type Refusal = (i8, &'static str, &'static str, i8, Option<&'static str>, i16, &'static str);

#[test]
fn refusals_of_alter_configs() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    let before = cluster.log.len();
    let table: &[Refusal] = &[
        (2, "zz", "retention.ms", 0, Some("1"), codes::UNKNOWN_TOPIC_OR_PARTITION, ""),
        (2, "", "retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "Default topic resources"),
        (2, "a", "retention.ms", 0, Some("x"), codes::INVALID_CONFIG, "retention.ms"),
        (2, "a", "nope", 0, Some("x"), codes::INVALID_CONFIG, "nope"),
        (2, "a", "retention.ms", 0, None, codes::INVALID_REQUEST, "Null value not supported"),
        (2, "a", "retention.ms", 9, Some("1"), codes::INVALID_REQUEST, ""),
        (2, "a", "retention.ms", 2, Some("1"), codes::INVALID_CONFIG, "retention.ms"),
        (4, "2", "log.retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "Unexpected broker id"),
        (4, "x", "log.retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "must be an integer"),
        (
            4,
            "",
            "min.insync.replicas",
            1,
            None,
            codes::INVALID_CONFIG,
            "cannot be removed while ELR is enabled",
        ),
        (
            4,
            "1",
            "min.insync.replicas",
            0,
            Some("1"),
            codes::INVALID_CONFIG,
            "cannot be altered while ELR is enabled",
        ),
        (
            4,
            "1",
            "log.dirs",
            0,
            Some("/x"),
            codes::INVALID_REQUEST,
            "Cannot update these configs dynamically",
        ),
        (
            32,
            "",
            "consumer.session.timeout.ms",
            0,
            Some("1"),
            codes::INVALID_REQUEST,
            "Default group resources",
        ),
        (32, "g", "nope", 0, Some("1"), codes::INVALID_CONFIG, "nope"),
        (3, "g", "nope", 0, Some("1"), codes::INVALID_REQUEST, "Unknown resource type 3"),
    ];
    for (kind, name, key, op, value, code, part) in table {
        says(&cluster.alter(*kind, name, &[(key, *op, *value)]), *code, part);
    }
    let twice = cluster.alter(2, "a", &[("retention.ms", 0, Some("1")), ("retention.ms", 0, Some("2"))]);
    says(&twice, codes::INVALID_REQUEST, "duplicate config keys");
    let mut request = incremental(2, "a", &[("retention.ms", 0, Some("1"))], false);
    request.resources.push(request.resources[0].clone());
    let decision = cluster.decide(|c, ctx| c.incremental_alter_configs(ctx, &request));
    assert_eq!((decision.records.len(), decision.reply.resources.len()), (0, 2));
    says(&decision.reply.resources[1].error, codes::INVALID_REQUEST, "at most once");
    let request = incremental(2, "a", &[("retention.ms", 0, Some("1"))], true);
    let decision = cluster.decide(|c, ctx| c.incremental_alter_configs(ctx, &request));
    assert_eq!((decision.records.len(), decision.reply.resources[0].error.code), (0, 0));
    assert_eq!(cluster.log.len(), before);
}

#[test]
fn legacy_alter_configs_replaces_everything() {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    cluster.alter(2, "a", &[("retention.ms", 0, Some("5")), ("segment.ms", 0, Some("6"))]);
    let configs = vec![AlterableConfig { name: "segment.ms", value: Some("7") }];
    let resource = AlterConfigsResource { resource_type: 2, resource_name: "a", configs };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let decision = cluster.decide(|c, ctx| c.alter_configs(ctx, &request));
    let reply = cluster.commit(decision);
    assert!(reply.resources[0].error.is_none());
    assert!(crate::wire::codec::encode(&reply.to_legacy(), 2).is_ok());
    assert!(crate::wire::codec::encode(&reply.to_incremental(), 1).is_ok());
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "segment.ms"), Some("7"));
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "retention.ms"), None);
}

#[test]
fn a_change_of_min_insync_replicas_clears_the_eligible_replicas() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    cluster.alter(2, "a", &[("min.insync.replicas", 0, Some("2"))]);
    let Some(MetadataRecord::ClearElr(clear)) = cluster.log.last() else {
        panic!("{:?}", cluster.log.last())
    };
    assert_eq!(&*clear.topic_name, "a");
    cluster.alter(4, "", &[("min.insync.replicas", 0, Some("2"))]);
    let Some(MetadataRecord::ClearElr(clear)) = cluster.log.last() else {
        panic!("{:?}", cluster.log.last())
    };
    assert_eq!(&*clear.topic_name, "");
}
