import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** The consumer by itself: positions, seeks, offsets by time, fetch bounds, commits. */
final class ConsumerChecks {
    private ConsumerChecks() { }

    static void run() {
        Check.check("consume seek and replay", ConsumerChecks::seek);
        Check.check("consume offsets for times", ConsumerChecks::offsetsForTimes);
        Check.check("consume beginning and end", ConsumerChecks::beginningAndEnd);
        Check.check("consume out of range", ConsumerChecks::outOfRange);
        Check.check("consume small fetches", ConsumerChecks::smallFetches);
        Check.check("consume waits for data", ConsumerChecks::waits);
        Check.check("consume many partitions", ConsumerChecks::manyPartitions);
        Check.check("consume pause and resume", ConsumerChecks::pause);
        Check.check("consume manual commit", ConsumerChecks::manualCommit);
        Check.check("consume auto commit", ConsumerChecks::autoCommit);
        Check.check("consume pattern", ConsumerChecks::pattern);
        Check.check("consume metadata", ConsumerChecks::metadata);
    }

    private static void seek(String topic) throws Exception {
        Check.send(topic, "v", 100);
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            List<TopicPartition> partitions = ProducerChecks.partitions(topic, 3);
            consumer.assign(partitions);
            List<String> first = Check.sortedValues(Check.poll(consumer, 100));
            consumer.seekToBeginning(partitions);
            Check.equal(first, Check.sortedValues(Check.poll(consumer, 100)), "replay");
            consumer.seekToEnd(partitions);
            long end = 0;
            for (TopicPartition p : partitions) {
                end += consumer.position(p);
            }
            Check.equal(100L, end, "sum of the end positions");
            TopicPartition busy = partitions.stream().filter(p -> consumer.position(p) > 5).findFirst().get();
            long wanted = consumer.position(busy) - 3;
            consumer.seek(busy, wanted);
            Check.equal(wanted, Check.poll(consumer, 3).get(0).offset(), "offset after the seek");
        }
    }

    private static void offsetsForTimes(String topic) throws Exception {
        TopicPartition p0 = new TopicPartition(topic, 0);
        TopicPartition p1 = new TopicPartition(topic, 1);
        long base = 1_700_000_000_000L;
        try (KafkaProducer<String, String> producer = Check.producer("batch.size", 400)) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(topic, 0, base + i * 1000L, "k", "value number " + i));
            }
            producer.flush();
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            for (int i : new int[] {0, 1, 37, 50, 99}) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(p0, base + i * 1000L)).get(p0);
                Check.equal(i + "@" + (base + i * 1000L), found.offset() + "@" + found.timestamp(), "exactly at " + i);
                if (i > 0) {
                    found = consumer.offsetsForTimes(Map.of(p0, base + i * 1000L - 500)).get(p0);
                    Check.equal((long) i, found.offset(), "just before " + i);
                }
            }
            Check.equal(null, consumer.offsetsForTimes(Map.of(p0, base + 100_000_000L)).get(p0), "after the end");
            Check.equal(null, consumer.offsetsForTimes(Map.of(p1, base)).get(p1), "in an empty partition");
            Check.equal(0L, consumer.offsetsForTimes(Map.of(p0, 0L)).get(p0).offset(), "before the beginning");
        }
    }

    private static void beginningAndEnd(String topic) throws Exception {
        List<TopicPartition> partitions = ProducerChecks.partitions(topic, 3);
        try (KafkaConsumer<String, String> consumer = Check.consumer("isolation.level", "read_committed")) {
            consumer.endOffsets(partitions).forEach((p, o) -> Check.equal(0L, o, "end of the empty " + p));
            Check.send(topic, "v", 90);
            Check.equal(90L, consumer.endOffsets(partitions).values().stream().mapToLong(o -> o).sum(), "ends");
            consumer.beginningOffsets(partitions).forEach((p, o) -> Check.equal(0L, o, "beginning of " + p));
            consumer.assign(partitions);
            Check.poll(consumer, 90);
            partitions.forEach(p -> Check.equal(0L, consumer.currentLag(p).orElse(-1), "lag of " + p));
        }
    }

    private static void outOfRange(String topic) throws Exception {
        Check.send(topic, "v", 30);
        TopicPartition p = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = Check.consumer("auto.offset.reset", "none")) {
            consumer.assign(List.of(p));
            consumer.seek(p, 1000);
            Check.fails(OffsetOutOfRangeException.class, () -> {
                Check.until("an error", () -> consumer.poll(Duration.ofMillis(200)) == null);
                return null;
            });
        }
    }

    private static void smallFetches(String topic) throws Exception {
        Check.send(topic, "v", 500, "batch.size", 300);
        try (KafkaConsumer<String, String> consumer = Check.consumer("fetch.max.bytes", 1, "max.partition.fetch.bytes", 1,
                "max.poll.records", 7)) {
            consumer.assign(ProducerChecks.partitions(topic, 3));
            Check.equal(Check.expected("v", 500), Check.sortedValues(Check.poll(consumer, 500)), "content");
        }
    }

    /**
     * A fetch that waits (fetch.min.bytes not reached) returns when data arrive, long before its time is over. One
     * partition: with several, the client leaves those with buffered records out of the fetch it sends ahead.
     */
    private static void waits(String topic) throws Exception {
        try (KafkaConsumer<String, String> consumer = Check.consumer("fetch.max.wait.ms", 8_000, "fetch.min.bytes", 1,
                "request.timeout.ms", 30_000);
             KafkaProducer<String, String> producer = Check.producer()) {
            consumer.assign(ProducerChecks.partitions(topic, 1));
            Check.equal(0, consumer.poll(Duration.ofMillis(300)).count(), "records before any was sent");
            for (int i = 0; i < 5; i++) {
                long start = System.nanoTime();
                producer.send(new ProducerRecord<>(topic, 0, "k", "v" + i)).get();
                Check.equal("v" + i, Check.poll(consumer, 1).get(0).value(), "value");
                long ms = (System.nanoTime() - start) / 1_000_000;
                Check.yes(ms < 6_000, "woken by the data, not by the end of the wait: " + ms + " ms");
            }
        }
    }

    private static void manyPartitions(String topic) throws Exception {
        String name = topic + "-wide";
        Check.create(name, 40, Map.of());
        try (KafkaProducer<String, String> producer = Check.producer("linger.ms", 5)) {
            for (int i = 0; i < 2000; i++) {
                producer.send(new ProducerRecord<>(name, i % 40, "k", "v" + i));
            }
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(ProducerChecks.partitions(name, 40));
            Check.equal(Check.expected("v", 2000), Check.sortedValues(Check.poll(consumer, 2000)), "content");
            consumer.assign(ProducerChecks.partitions(name, 7));
            consumer.seekToBeginning(ProducerChecks.partitions(name, 7));
            Check.equal(350, Check.poll(consumer, 350).size(), "records of seven partitions after a session change");
        }
    }

    private static void pause(String topic) throws Exception {
        List<TopicPartition> partitions = ProducerChecks.partitions(topic, 2);
        try (KafkaProducer<String, String> producer = Check.producer(); KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(partitions);
            consumer.pause(partitions.subList(0, 1));
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, "k", "v" + i));
            }
            producer.flush();
            Check.poll(consumer, 10).forEach(r -> Check.equal(1, r.partition(), "partition"));
            consumer.resume(partitions);
            Check.poll(consumer, 10).forEach(r -> Check.equal(0, r.partition(), "partition"));
        }
    }

    private static void manualCommit(String topic) throws Exception {
        Check.send(topic, "v", 60);
        String group = "manual-" + topic;
        long read = 0;
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", group, "max.poll.records", 20)) {
            consumer.subscribe(List.of(topic));
            Check.until("twenty records", () -> consumer.poll(Duration.ofMillis(200)).count() > 0);
            consumer.commitSync();
            Check.until("more records", () -> consumer.poll(Duration.ofMillis(200)).count() > 0);
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", group)) {
            Map<TopicPartition, OffsetAndMetadata> committed =
                consumer.committed(Set.copyOf(ProducerChecks.partitions(topic, 3)));
            for (OffsetAndMetadata o : committed.values()) {
                read += o == null ? 0 : o.offset();
            }
            Check.yes(read > 0 && read <= 20, "only what was committed counts: " + read);
            consumer.subscribe(List.of(topic));
            Check.poll(consumer, 60 - (int) read);
            TopicPartition p = new TopicPartition(topic, 2);
            consumer.commitSync(Map.of(p, new OffsetAndMetadata(1, "a note")));
            Check.equal("1 a note", consumer.committed(Set.of(p)).get(p).offset() + " "
                + consumer.committed(Set.of(p)).get(p).metadata(), "committed with metadata");
            boolean[] called = new boolean[1];
            consumer.commitAsync((offsets, error) -> called[0] = error == null);
            Check.until("the asynchronous commit", () -> {
                consumer.poll(Duration.ofMillis(50));
                return called[0];
            });
        }
    }

    private static void autoCommit(String topic) throws Exception {
        Check.send(topic, "v", 30);
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", "auto-" + topic, "enable.auto.commit", true)) {
            consumer.subscribe(List.of(topic));
            Check.poll(consumer, 30);
        }
        Check.send(topic, "w", 10);
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", "auto-" + topic)) {
            consumer.subscribe(List.of(topic));
            Check.equal(Check.expected("w", 10), Check.sortedValues(Check.poll(consumer, 10)), "what came after the commit");
        }
    }

    private static void pattern(String topic) throws Exception {
        Check.create(topic + "-other", 1, Map.of());
        Check.send(topic, "v", 10);
        Check.send(topic + "-other", "w", 10);
        try (KafkaConsumer<String, String> consumer = Check.consumer("group.id", "pattern-" + topic)) {
            consumer.subscribe(java.util.regex.Pattern.compile(java.util.regex.Pattern.quote(topic) + ".*"));
            Check.poll(consumer, 20);
        }
    }

    private static void metadata(String topic) throws Exception {
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            Check.equal(3, consumer.partitionsFor(topic).size(), "partitions");
            Check.yes(consumer.listTopics().containsKey(topic), "listed");
            consumer.partitionsFor(topic).forEach(p -> Check.equal(1, p.inSyncReplicas().length, "in-sync replicas"));
        }
    }
}
