import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.LeaderNotAvailableException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the client checks share: clients with test settings, bounded polling, comparisons. */
final class Check {
    interface Body {
        void run(String topic) throws Exception;
    }

    static final long LIMIT_MS = 40_000;
    static String bootstrap;
    static Admin admin;
    private static int failed;
    private static int counter;

    private Check() { }

    /** Runs one check on a fresh topic with three partitions and prints its result. */
    static void check(String name, Body body) {
        String topic = name.replace(' ', '-') + "-" + counter++;
        long start = System.nanoTime();
        try {
            create(topic, 3, Map.of());
            body.run(topic);
            System.out.println("ok " + name + " (" + (System.nanoTime() - start) / 1_000_000 + " ms)");
        } catch (Throwable t) {
            failed++;
            System.out.println("FAIL " + name + ": " + t);
            t.printStackTrace();
        }
    }

    static int failed() {
        return failed;
    }

    /**
     * Creates a topic and waits until every partition has a leader that answers: Apache Kafka replies before that, and
     * an idempotent producer whose first batches meet a partition that is only just coming may never recover.
     */
    static void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        for (int i = 0; i < partitions; i++) {
            latest.put(new TopicPartition(topic, i), OffsetSpec.latest());
        }
        until("the partitions of " + topic, () -> succeeds(() -> admin.listOffsets(latest).all().get()));
    }

    /** Whether the call returns; a missing topic or leader is no. */
    static boolean succeeds(Call call) {
        try {
            call.run();
            return true;
        } catch (Exception e) {
            yes(e.getCause() instanceof UnknownTopicOrPartitionException || e.getCause() instanceof LeaderNotAvailableException,
                e.toString());
            return false;
        }
    }

    static KafkaProducer<String, String> producer(Object... settings) {
        Map<String, Object> all = settings(settings);
        all.put("delivery.timeout.ms", 60_000);
        all.put("request.timeout.ms", 20_000);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Object... settings) {
        Map<String, Object> all = settings(settings);
        all.putIfAbsent("auto.offset.reset", "earliest");
        all.putIfAbsent("enable.auto.commit", false);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    private static Map<String, Object> settings(Object... settings) {
        Map<String, Object> all = new HashMap<>();
        all.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < settings.length; i += 2) {
            all.put((String) settings[i], settings[i + 1]);
        }
        return all;
    }

    /** Sends `count` records `<prefix><i>` with keys `k<i mod 10>` and waits for all of them. */
    static List<RecordMetadata> send(String topic, String prefix, int count, Object... settings) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(settings)) {
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, "k" + i % 10, prefix + i)));
            }
            producer.flush();
        }
        List<RecordMetadata> metadata = new ArrayList<>();
        for (var future : sent) {
            metadata.add(future.get());
        }
        return metadata;
    }

    /** Polls until `count` records have come (and fails when more come with them). */
    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        until(count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            return records.size() >= count;
        });
        equal(count, records.size(), "records");
        return records;
    }

    static List<String> values(Iterable<ConsumerRecord<String, String>> records) {
        List<String> values = new ArrayList<>();
        records.forEach(r -> values.add(r.value()));
        return values;
    }

    static List<String> sortedValues(Iterable<ConsumerRecord<String, String>> records) {
        List<String> values = values(records);
        values.sort(null);
        return values;
    }

    static List<String> expected(String prefix, int count) {
        List<String> values = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            values.add(prefix + i);
        }
        values.sort(null);
        return values;
    }

    static void until(String what, BooleanSupplier probe) {
        long end = System.currentTimeMillis() + LIMIT_MS;
        while (!probe.getAsBoolean()) {
            if (System.currentTimeMillis() > end) {
                throw new AssertionError(what + ": not within " + LIMIT_MS + " ms");
            }
        }
    }

    static void equal(Object wanted, Object found, String what) {
        if (!Objects.equals(wanted, found)) {
            throw new AssertionError(what + ": wanted " + wanted + ", found " + found);
        }
    }

    static void yes(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    interface Call {
        Object run() throws Exception;
    }

    /** The call must fail with this class. */
    static void fails(Class<? extends Throwable> wanted, Call call) throws Exception {
        try {
            call.run();
        } catch (Throwable t) {
            Throwable cause = t instanceof ExecutionException ? t.getCause() : t;
            yes(wanted.isInstance(cause), "wanted " + wanted.getSimpleName() + ", found " + cause);
            return;
        }
        throw new AssertionError("wanted " + wanted.getSimpleName() + ", but it succeeded");
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
