import static java.util.stream.Collectors.toSet;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The admin client: topics, configurations, records, groups, the cluster. */
final class AdminChecks {
    private AdminChecks() { }

    static void run() {
        Check.check("admin topics", AdminChecks::topics);
        Check.check("admin topic errors", AdminChecks::topicErrors);
        Check.check("admin partitions", AdminChecks::partitions);
        Check.check("admin incremental configs", AdminChecks::incrementalConfigs);
        Check.check("admin describe configs", AdminChecks::describeConfigs);
        Check.check("admin broker configs", AdminChecks::brokerConfigs);
        Check.check("admin delete records", AdminChecks::deleteRecords);
        Check.check("admin list offsets", AdminChecks::listOffsets);
        Check.check("admin log dirs", AdminChecks::logDirs);
        Check.check("admin cluster", AdminChecks::cluster);
        Check.check("admin producers", AdminChecks::producers);
        Check.check("admin groups", AdminChecks::groups);
        Check.check("admin group offsets", AdminChecks::groupOffsets);
    }

    private static void topics(String topic) throws Exception {
        Admin admin = Check.admin;
        CreateTopicsResult created = admin.createTopics(List.of(
            new NewTopic(topic + "-a", 2, (short) 1).configs(Map.of("retention.ms", "1000")),
            new NewTopic(topic + "-b", java.util.Optional.empty(), java.util.Optional.empty()),
            new NewTopic(topic + "-c", Map.of(0, List.of(node())))));
        created.all().get();
        Check.equal(2, created.numPartitions(topic + "-a").get(), "partitions in the reply");
        Check.until("the new topics", () -> Check.succeeds(() ->
            admin.describeTopics(List.of(topic + "-a", topic + "-b", topic + "-c")).allTopicNames().get()));
        Check.equal("1000", created.config(topic + "-a").get().get("retention.ms").value(), "config in the reply");
        TopicDescription description = admin.describeTopics(List.of(topic + "-a")).allTopicNames().get().get(topic + "-a");
        Check.equal(created.topicId(topic + "-a").get(), description.topicId(), "topic id");
        Check.equal(2, description.partitions().size(), "partitions");
        Check.equal(node(), description.partitions().get(0).leader().id(), "leader");
        TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(description.topicId())))
            .allTopicIds().get().get(description.topicId());
        Check.equal(topic + "-a", byId.name(), "name by id");
        admin.createTopics(List.of(new NewTopic(topic + "-dry", 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get();
        Set<String> names = admin.listTopics().names().get();
        Check.yes(names.containsAll(List.of(topic + "-a", topic + "-b", topic + "-c")), "listed");
        Check.yes(!names.contains(topic + "-dry"), "a dry run creates nothing");
        admin.deleteTopics(List.of(topic + "-a")).all().get();
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(created.topicId(topic + "-b").get()))).all().get();
        Check.until("they are gone", () -> {
            try {
                Set<String> left = admin.listTopics().names().get();
                return !left.contains(topic + "-a") && !left.contains(topic + "-b");
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        });
        // The name can be used again, with another id and no old records.
        Check.create(topic + "-a", 1, Map.of());
        Check.yes(!description.topicId().equals(admin.describeTopics(List.of(topic + "-a")).allTopicNames().get()
            .get(topic + "-a").topicId()), "a new topic id");
    }

    private static int node() throws Exception {
        return Check.admin.describeCluster().nodes().get().iterator().next().id();
    }

    private static void topicErrors(String topic) {
        Admin admin = Check.admin;
        try {
            Check.fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
            Check.fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("a/b", 1, (short) 1))).all().get());
            Check.fails(InvalidPartitionsException.class, () ->
                admin.createTopics(List.of(new NewTopic(topic + "-n", 0, (short) 1))).all().get());
            Check.fails(InvalidReplicationFactorException.class, () ->
                admin.createTopics(List.of(new NewTopic(topic + "-n", 1, (short) 3))).all().get());
            Check.fails(InvalidConfigurationException.class, () -> admin.createTopics(List.of(
                new NewTopic(topic + "-n", 1, (short) 1).configs(Map.of("no.such.key", "1")))).all().get());
            Check.fails(InvalidConfigurationException.class, () -> admin.createTopics(List.of(
                new NewTopic(topic + "-n", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all().get());
            Check.fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of("no-such-topic")).all().get());
            Check.fails(UnknownTopicOrPartitionException.class, () ->
                admin.describeTopics(List.of("no-such-topic")).allTopicNames().get());
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    private static void partitions(String topic) throws Exception {
        Admin admin = Check.admin;
        Check.send(topic, "v", 30);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
        Check.until("six partitions", () -> Check.succeeds(() ->
            admin.listOffsets(Map.of(new TopicPartition(topic, 5), OffsetSpec.latest())).all().get()));
        Check.equal(6, admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), "partitions");
        Check.fails(InvalidPartitionsException.class, () ->
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
        Check.fails(UnknownTopicOrPartitionException.class, () ->
            admin.createPartitions(Map.of("no-such-topic", NewPartitions.increaseTo(2))).all().get());
        try (KafkaProducer<String, String> producer = Check.producer()) {
            producer.send(new ProducerRecord<>(topic, 5, "k", "new")).get();
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(ProducerChecks.partitions(topic, 6));
            Check.poll(consumer, 31);
        }
    }

    private static ConfigEntry entry(ConfigResource resource, String key) throws Exception {
        return Check.admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key);
    }

    private static AlterConfigOp op(String key, String value, AlterConfigOp.OpType type) {
        return new AlterConfigOp(new ConfigEntry(key, value), type);
    }

    private static void incrementalConfigs(String topic) throws Exception {
        Admin admin = Check.admin;
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Check.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, entry(resource, "segment.ms").source(), "source at first");
        admin.incrementalAlterConfigs(Map.of(resource, List.of(op("segment.ms", "5000", AlterConfigOp.OpType.SET),
            op("cleanup.policy", "compact", AlterConfigOp.OpType.APPEND)))).all().get();
        Check.equal("5000", entry(resource, "segment.ms").value(), "segment.ms");
        Check.equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, entry(resource, "segment.ms").source(), "source");
        Check.equal(Set.of("delete", "compact"), Set.of(entry(resource, "cleanup.policy").value().split(",")), "appended");
        admin.incrementalAlterConfigs(Map.of(resource, List.of(op("segment.ms", null, AlterConfigOp.OpType.DELETE),
            op("cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT)))).all().get();
        Check.equal("604800000", entry(resource, "segment.ms").value(), "default again");
        Check.equal("compact", entry(resource, "cleanup.policy").value(), "subtracted");
        Check.fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(
            Map.of(resource, List.of(op("segment.bytes", "few", AlterConfigOp.OpType.SET)))).all().get());
        Check.equal("1073741824", entry(resource, "segment.bytes").value(), "unchanged by the failed request");
    }

    private static void describeConfigs(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Check.yes(Check.admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC),
            new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get() != null, "config resources");
        Config all = Check.admin.describeConfigs(List.of(resource),
            new org.apache.kafka.clients.admin.DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true))
            .all().get().get(resource);
        ConfigEntry retention = all.get("retention.ms");
        Check.equal(ConfigEntry.ConfigType.LONG, retention.type(), "type");
        Check.yes(retention.documentation() != null && !retention.documentation().isEmpty(), "documentation");
        Check.yes(!all.get("segment.bytes").synonyms().isEmpty(), "synonyms");
    }

    private static void brokerConfigs(String topic) throws Exception {
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node()));
        ConfigEntry listeners = entry(broker, "listeners");
        Check.equal(ConfigEntry.ConfigSource.STATIC_BROKER_CONFIG, listeners.source(), "source of listeners");
        Check.yes(listeners.value().contains("PLAINTEXT://"), "listeners: " + listeners.value());
        Check.yes(listeners.isReadOnly() || !listeners.isSensitive(), "flags");
        Check.admin.incrementalAlterConfigs(Map.of(broker,
            List.of(op("log.index.interval.bytes", "12345", AlterConfigOp.OpType.SET)))).all().get();
        Check.until("the dynamic value", () -> {
            try {
                return "12345".equals(entry(broker, "log.index.interval.bytes").value());
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        });
        Check.admin.incrementalAlterConfigs(Map.of(broker,
            List.of(op("log.index.interval.bytes", null, AlterConfigOp.OpType.DELETE)))).all().get();
    }

    private static void deleteRecords(String topic) throws Exception {
        TopicPartition p = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = Check.producer("batch.size", 200)) {
            for (int i = 0; i < 50; i++) {
                producer.send(new ProducerRecord<>(topic, 0, "k", "v" + i));
            }
        }
        Check.equal(20L, Check.admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(20))).lowWatermarks().get(p).get()
            .lowWatermark(), "low watermark");
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(List.of(p));
            Check.equal(20L, consumer.beginningOffsets(List.of(p)).get(p), "beginning");
            Check.equal(20L, Check.poll(consumer, 30).get(0).offset(), "first offset");
        }
        Check.fails(OffsetOutOfRangeException.class, () ->
            Check.admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(51))).all().get());
        Check.admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(-1))).all().get();
        Check.equal(50L, offset(p, OffsetSpec.earliest()), "everything deleted");
    }

    private static long offset(TopicPartition p, OffsetSpec spec) throws Exception {
        return Check.admin.listOffsets(Map.of(p, spec)).partitionResult(p).get().offset();
    }

    private static void listOffsets(String topic) throws Exception {
        TopicPartition p = new TopicPartition(topic, 0);
        Check.equal(-1L, offset(p, OffsetSpec.maxTimestamp()), "max timestamp of an empty partition");
        long base = 1_700_000_000_000L;
        try (KafkaProducer<String, String> producer = Check.producer()) {
            for (long time : new long[] {5, 90, 20, 90, 30}) {
                producer.send(new ProducerRecord<>(topic, 0, base + time, "k", "v"));
            }
        }
        Check.equal(0L, offset(p, OffsetSpec.earliest()), "earliest");
        Check.equal(5L, offset(p, OffsetSpec.latest()), "latest");
        Check.equal(1L, offset(p, OffsetSpec.maxTimestamp()), "max timestamp: the first of the largest");
        Check.equal(base + 90, Check.admin.listOffsets(Map.of(p, OffsetSpec.maxTimestamp())).partitionResult(p).get().timestamp(), "its timestamp");
        Check.equal(1L, offset(p, OffsetSpec.forTimestamp(base + 6)), "by time");
        Check.equal(-1L, offset(p, OffsetSpec.forTimestamp(base + 91)), "by a time after all");
        Check.equal(0L, offset(p, OffsetSpec.earliestLocal()), "earliest local");
    }

    private static void logDirs(String topic) throws Exception {
        Check.send(topic, "v", 100);
        var directories = Check.admin.describeLogDirs(List.of(node())).allDescriptions().get().get(node());
        long size = 0;
        for (var directory : directories.values()) {
            Check.equal(null, directory.error(), "error");
            Check.yes(directory.totalBytes().orElse(0) > 0 && directory.usableBytes().orElse(-1) >= 0, "disk sizes");
            for (TopicPartition p : ProducerChecks.partitions(topic, 3)) {
                if (directory.replicaInfos().containsKey(p)) {
                    size += directory.replicaInfos().get(p).size();
                    Check.equal(0L, directory.replicaInfos().get(p).offsetLag(), "lag");
                }
            }
        }
        Check.yes(size > 100, "size: " + size);
    }

    private static void cluster(String topic) throws Exception {
        var cluster = Check.admin.describeCluster();
        Check.equal(22, cluster.clusterId().get().length(), "length of the cluster id");
        Check.equal(1, cluster.nodes().get().size(), "nodes");
        Check.yes(cluster.controller().get() != null, "controller");
        String[] address = Check.bootstrap.split(":");
        Check.equal(address[1], Integer.toString(cluster.nodes().get().iterator().next().port()), "port");
        Check.yes(Check.admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"),
            "metadata.version is finalized");
    }

    private static void producers(String topic) throws Exception {
        TopicPartition p = new TopicPartition(topic, 1);
        try (KafkaProducer<String, String> producer = Check.producer("enable.idempotence", true)) {
            for (int i = 0; i < 5; i++) {
                producer.send(new ProducerRecord<>(topic, 1, "k", "v" + i)).get();
            }
            List<ProducerState> states = List.copyOf(
                Check.admin.describeProducers(List.of(p)).partitionResult(p).get().activeProducers());
            Check.equal(1, states.size(), "producers");
            Check.equal(4, states.get(0).lastSequence(), "last sequence");
            Check.equal(0, states.get(0).producerEpoch(), "epoch");
        }
    }

    private static void groups(String topic) throws Exception {
        Admin admin = Check.admin;
        String group = "admin-" + topic;
        Check.send(topic, "v", 30);
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", group, "client.id", "one")) {
            consumer.subscribe(List.of(topic));
            Check.poll(consumer, 30);
            consumer.commitSync();
            var description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Check.equal(GroupState.STABLE, description.groupState(), "state");
            Check.equal("range", description.partitionAssignor(), "assignor");
            Check.equal(1, description.members().size(), "members");
            var member = description.members().iterator().next();
            Check.equal("one", member.clientId(), "client id");
            Check.equal(3, member.assignment().topicPartitions().size(), "assigned partitions");
            Check.yes(member.host().startsWith("/"), "host: " + member.host());
            Check.equal(node(), description.coordinator().id(), "coordinator");
            Check.fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        }
        Check.yes(admin.listGroups().all().get().stream().map(g -> g.groupId()).collect(toSet()).contains(group), "listed");
        var empty = admin.listGroups(new org.apache.kafka.clients.admin.ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)));
        Check.yes(empty.all().get().stream().anyMatch(g -> g.groupId().equals(group)), "listed as empty");
        Check.equal(GroupState.EMPTY, admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState(), "state");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Check.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        Check.fails(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(group)).all().get());
    }

    private static void groupOffsets(String topic) throws Exception {
        Admin admin = Check.admin;
        String group = "offsets-" + topic;
        TopicPartition p0 = new TopicPartition(topic, 0);
        TopicPartition p1 = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(p0, new OffsetAndMetadata(7), p1, new OffsetAndMetadata(8, "m"))).all().get();
        Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Check.equal(Set.of(p0, p1), offsets.keySet(), "partitions");
        Check.equal(7L, offsets.get(p0).offset(), "offset");
        Check.equal("m", offsets.get(p1).metadata(), "metadata");
        admin.deleteConsumerGroupOffsets(group, Set.of(p0)).all().get();
        var both = admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(p0, p1)),
            group + "-none", new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(p0))));
        Check.equal(null, both.partitionsToOffsetAndMetadata(group).get().get(p0), "deleted");
        Check.equal(8L, both.partitionsToOffsetAndMetadata(group).get().get(p1).offset(), "kept");
        Check.equal(null, both.partitionsToOffsetAndMetadata(group + "-none").get().get(p0), "of a group that is not there");
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", group)) {
            consumer.subscribe(List.of(topic));
            Check.until("an assignment", () -> {
                consumer.poll(Duration.ofMillis(100));
                return !consumer.assignment().isEmpty();
            });
            Check.fails(org.apache.kafka.common.errors.GroupSubscribedToTopicException.class, () ->
                admin.deleteConsumerGroupOffsets(group, Set.of(p1)).all().get());
            Check.fails(org.apache.kafka.common.errors.UnknownMemberIdException.class, () ->
                admin.alterConsumerGroupOffsets(group, Map.of(p0, new OffsetAndMetadata(1))).all().get());
        }
    }
}
