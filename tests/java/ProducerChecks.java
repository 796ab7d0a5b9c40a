import static java.util.stream.Collectors.groupingBy;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.record.TimestampType;

/** The producer: acks, idempotence, batching, every codec, headers, timestamps, errors. */
final class ProducerChecks {
    private ProducerChecks() { }

    static void run() {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Check.check("produce " + codec, topic -> codec(topic, codec));
        }
        Check.check("produce without idempotence", topic -> acks(topic, "1"));
        Check.check("produce acks 0", topic -> acks(topic, "0"));
        Check.check("produce one by one", ProducerChecks::oneByOne);
        Check.check("produce headers nulls and timestamps", ProducerChecks::shapes);
        Check.check("produce log append time", ProducerChecks::logAppendTime);
        Check.check("produce topic compression", ProducerChecks::topicCompression);
        Check.check("produce too large", ProducerChecks::tooLarge);
        Check.check("produce large records", ProducerChecks::large);
        Check.check("produce auto creates", ProducerChecks::autoCreate);
        Check.check("produce invalid topic", topic ->
            Check.fails(InvalidTopicException.class, () -> Check.send("not a name", "v", 1)));
    }

    /** Idempotent, acks=all, lingering, several batches: offsets are dense and the content comes back in order. */
    private static void codec(String topic, String codec) throws Exception {
        int count = 2000;
        List<RecordMetadata> sent = Check.send(topic, "value-" + codec + "-", count, "acks", "all",
            "enable.idempotence", true, "linger.ms", 20, "batch.size", 4096, "compression.type", codec);
        Set<String> places = new HashSet<>();
        sent.forEach(m -> places.add(m.partition() + ":" + m.offset()));
        Check.equal(count, places.size(), "distinct offsets");
        try (KafkaConsumer<String, String> consumer = Check.consumer("isolation.level", "read_committed")) {
            consumer.assign(partitions(topic, 3));
            List<ConsumerRecord<String, String>> records = Check.poll(consumer, count);
            Check.equal(Check.expected("value-" + codec + "-", count), Check.sortedValues(records), "content");
            for (ConsumerRecord<String, String> r : records) {
                int i = Integer.parseInt(r.value().substring(r.value().lastIndexOf('-') + 1));
                Check.equal(sent.get(i).partition() + ":" + sent.get(i).offset(), r.partition() + ":" + r.offset(), "place of " + i);
                Check.equal(sent.get(i).timestamp(), r.timestamp(), "timestamp of " + i);
                Check.equal("k" + i % 10, r.key(), "key of " + i);
            }
            inOrder(records);
        }
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(new TopicPartition(topic, i));
        }
        return all;
    }

    /** Offsets are dense per partition, and the records of one key come in the order they were sent. */
    static void inOrder(List<ConsumerRecord<String, String>> records) {
        records.stream().collect(groupingBy(ConsumerRecord::partition)).forEach((partition, some) -> {
            for (int i = 0; i < some.size(); i++) {
                Check.equal((long) i, some.get(i).offset(), "offset in partition " + partition);
            }
        });
        records.stream().collect(groupingBy(ConsumerRecord::key)).forEach((key, some) -> {
            int last = -1;
            for (ConsumerRecord<String, String> r : some) {
                int i = Integer.parseInt(r.value().substring(r.value().lastIndexOf('-') + 1));
                Check.yes(i > last, "order of key " + key + ": " + i + " after " + last);
                last = i;
            }
        });
    }

    private static void acks(String topic, String acks) throws Exception {
        Check.send(topic, "v", 300, "acks", acks, "enable.idempotence", false, "batch.size", 1000);
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(partitions(topic, 3));
            Check.equal(Check.expected("v", 300), Check.sortedValues(Check.poll(consumer, 300)), "content");
        }
    }

    private static void oneByOne(String topic) throws Exception {
        try (KafkaProducer<String, String> producer = Check.producer("acks", "all", "linger.ms", 0)) {
            for (int i = 0; i < 50; i++) {
                RecordMetadata metadata = producer.send(new ProducerRecord<>(topic, 1, null, "v" + i)).get();
                Check.equal((long) i, metadata.offset(), "offset");
                Check.equal(1, metadata.partition(), "partition");
            }
        }
    }

    private static void shapes(String topic) throws Exception {
        long time = 1_600_000_000_123L;
        try (KafkaProducer<String, String> producer = Check.producer()) {
            ProducerRecord<String, String> full = new ProducerRecord<>(topic, 0, time, "key", "value");
            full.headers().add("a", Check.bytes("1")).add("a", Check.bytes("2")).add("none", null).add("", new byte[0]);
            List<Future<RecordMetadata>> sent = List.of(producer.send(full),
                producer.send(new ProducerRecord<>(topic, 0, time - 5, null, "no key")),
                producer.send(new ProducerRecord<>(topic, 0, time + 5, "tombstone", (String) null)),
                producer.send(new ProducerRecord<>(topic, 0, time, "", "")));
            producer.flush();
            for (Future<RecordMetadata> f : sent) {
                f.get();
            }
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(partitions(topic, 1));
            List<ConsumerRecord<String, String>> records = Check.poll(consumer, 4);
            StringBuilder headers = new StringBuilder();
            records.get(0).headers().forEach(h ->
                headers.append(h.key()).append('=').append(h.value() == null ? "null" : new String(h.value())).append(';'));
            Check.equal("a=1;a=2;none=null;=;", headers.toString(), "headers");
            Check.equal(time, records.get(0).timestamp(), "timestamp");
            Check.equal(TimestampType.CREATE_TIME, records.get(0).timestampType(), "timestamp type");
            Check.equal(null, records.get(1).key(), "missing key");
            Check.equal(time - 5, records.get(1).timestamp(), "an earlier timestamp");
            Check.equal(null, records.get(2).value(), "tombstone");
            Check.equal("", records.get(3).key() + records.get(3).value(), "empty key and value");
        }
    }

    private static void logAppendTime(String topic) throws Exception {
        Check.create(topic + "-lat", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        RecordMetadata metadata;
        try (KafkaProducer<String, String> producer = Check.producer("compression.type", "lz4")) {
            metadata = producer.send(new ProducerRecord<>(topic + "-lat", 0, 1L, "k", "v")).get();
        }
        Check.yes(metadata.timestamp() >= before - 1000, "the reply carries the broker's time: " + metadata.timestamp());
        try (KafkaConsumer<String, String> consumer = Check.consumer()) {
            consumer.assign(partitions(topic + "-lat", 1));
            ConsumerRecord<String, String> r = Check.poll(consumer, 1).get(0);
            Check.equal(TimestampType.LOG_APPEND_TIME, r.timestampType(), "timestamp type");
            Check.equal(metadata.timestamp(), r.timestamp(), "timestamp");
        }
    }

    /** compression.type of the topic: the broker compresses again, whatever the producer sent. */
    private static void topicCompression(String topic) throws Exception {
        for (String codec : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            String name = topic + "-" + codec;
            Check.create(name, 1, Map.of("compression.type", codec));
            Check.send(name, "plain", 100, "compression.type", "none");
            Check.send(name, "other", 100, "compression.type", codec.equals("zstd") ? "gzip" : "zstd");
            try (KafkaConsumer<String, String> consumer = Check.consumer()) {
                consumer.assign(partitions(name, 1));
                List<String> values = Check.values(Check.poll(consumer, 200));
                for (int i = 0; i < 200; i++) {
                    Check.equal((i < 100 ? "plain" : "other") + i % 100, values.get(i), codec + " value " + i);
                }
            }
        }
    }

    private static void tooLarge(String topic) throws Exception {
        String name = topic + "-small";
        Check.create(name, 1, Map.of("max.message.bytes", "1000"));
        try (KafkaProducer<String, String> producer = Check.producer()) {
            Check.fails(RecordTooLargeException.class, () ->
                producer.send(new ProducerRecord<>(name, "x".repeat(5000))).get());
            producer.send(new ProducerRecord<>(name, "x".repeat(100))).get();
        }
    }

    /** Random 900 kB values: larger than a fetch's first bytes and than most buffers. */
    private static void large(String topic) throws Exception {
        Random random = new Random(7);
        List<String> values = new ArrayList<>();
        try (KafkaProducer<String, String> producer = Check.producer("acks", "all")) {
            for (int i = 0; i < 12; i++) {
                StringBuilder text = new StringBuilder();
                while (text.length() < 900_000) {
                    text.append(Long.toString(random.nextLong(), 36));
                }
                values.add(text.toString());
                producer.send(new ProducerRecord<>(topic, 0, "k", values.get(i)));
            }
            producer.flush();
        }
        try (KafkaConsumer<String, String> consumer = Check.consumer("max.partition.fetch.bytes", 100_000)) {
            consumer.assign(partitions(topic, 1));
            Check.equal(values, Check.values(Check.poll(consumer, 12)), "content");
        }
    }

    private static void autoCreate(String topic) throws Exception {
        Check.send(topic + "-auto", "v", 10);
        Check.yes(Check.admin.listTopics().names().get().contains(topic + "-auto"), "the topic exists");
    }
}
