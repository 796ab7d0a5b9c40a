import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;

/** Consumer groups with the classic protocol: every assignor, sharing, static membership, fencing, timeouts. */
final class GroupChecks {
    private GroupChecks() { }

    static void run() {
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class,
                CooperativeStickyAssignor.class)) {
            Check.check("group " + assignor.getSimpleName(), topic -> share(topic, assignor));
        }
        Check.check("group static membership", GroupChecks::staticMembership);
        Check.check("group fences a duplicate instance", GroupChecks::fencing);
        Check.check("group drops a silent member", GroupChecks::silent);
        Check.check("group survives a subscription change", GroupChecks::subscriptionChange);
    }

    private static KafkaConsumer<String, String> member(String group, Class<?> assignor, Object... more) {
        List<Object> settings = new ArrayList<>(List.of("group.id", group, "partition.assignment.strategy",
            assignor.getName(), "session.timeout.ms", 10_000, "heartbeat.interval.ms", 200, "metadata.max.age.ms", 1000));
        settings.addAll(List.of(more));
        return Check.consumer(settings.toArray());
    }

    /** Two members come to share all partitions between them; every record is read once; one leaves, the other has all. */
    private static void share(String topic, Class<?> assignor) throws Exception {
        String group = "share-" + topic;
        Set<TopicPartition> all = new HashSet<>(ProducerChecks.partitions(topic, 3));
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> one = member(group, assignor)) {
            one.subscribe(List.of(topic));
            Check.until("the first member has everything", () -> {
                Check.values(one.poll(Duration.ofMillis(100))).forEach(values::add);
                return one.assignment().equals(all);
            });
            try (KafkaConsumer<String, String> two = member(group, assignor)) {
                two.subscribe(List.of(topic));
                Check.until("they share", () -> {
                    values.addAll(Check.values(one.poll(Duration.ofMillis(50))));
                    values.addAll(Check.values(two.poll(Duration.ofMillis(50))));
                    Set<TopicPartition> both = new HashSet<>(one.assignment());
                    both.addAll(two.assignment());
                    return both.equals(all) && one.assignment().size() + two.assignment().size() == 3
                        && !one.assignment().isEmpty() && !two.assignment().isEmpty();
                });
                Check.send(topic, "v", 100);
                Check.until("a hundred records", () -> {
                    values.addAll(Check.values(one.poll(Duration.ofMillis(50))));
                    values.addAll(Check.values(two.poll(Duration.ofMillis(50))));
                    return values.size() >= 100;
                });
                one.commitSync();
                two.commitSync();
            }
            values.sort(null);
            Check.equal(Check.expected("v", 100), values, "content");
            Check.until("the first member has everything again", () -> {
                one.poll(Duration.ofMillis(100));
                return one.assignment().equals(all);
            });
        }
    }

    /** A static member that goes and comes back within its session gets its partitions without a rebalance. */
    private static void staticMembership(String topic) throws Exception {
        String group = "static-" + topic;
        AtomicInteger rebalances = new AtomicInteger();
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                rebalances.incrementAndGet();
            }
        };
        try (KafkaConsumer<String, String> stays = member(group, RangeAssignor.class, "group.instance.id", "stays")) {
            stays.subscribe(List.of(topic), listener);
            Set<TopicPartition> before;
            try (KafkaConsumer<String, String> goes = member(group, RangeAssignor.class, "group.instance.id", "goes")) {
                goes.subscribe(List.of(topic));
                Check.until("they share", () -> {
                    stays.poll(Duration.ofMillis(50));
                    goes.poll(Duration.ofMillis(50));
                    return stays.assignment().size() + goes.assignment().size() == 3 && !goes.assignment().isEmpty()
                        && !stays.assignment().isEmpty();
                });
                before = Set.copyOf(goes.assignment());
            }
            int count = rebalances.get();
            try (KafkaConsumer<String, String> back = member(group, RangeAssignor.class, "group.instance.id", "goes")) {
                back.subscribe(List.of(topic));
                Check.until("it has its partitions again", () -> {
                    stays.poll(Duration.ofMillis(50));
                    back.poll(Duration.ofMillis(50));
                    return !back.assignment().isEmpty();
                });
                Check.equal(before, back.assignment(), "partitions after the return");
                stays.poll(Duration.ofMillis(500));
                Check.equal(count, rebalances.get(), "rebalances of the member that stayed");
            }
            var members = Check.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members();
            Check.equal(2, members.size(), "both static members are still there");
            Check.yes(members.stream().allMatch(m -> m.groupInstanceId().isPresent()), "with their instance ids");
        }
    }

    private static void fencing(String topic) throws Exception {
        String group = "fence-" + topic;
        try (KafkaConsumer<String, String> old = member(group, RangeAssignor.class, "group.instance.id", "same");
             KafkaConsumer<String, String> young = member(group, RangeAssignor.class, "group.instance.id", "same")) {
            old.subscribe(List.of(topic));
            Check.until("an assignment", () -> {
                old.poll(Duration.ofMillis(100));
                return old.assignment().size() == 3;
            });
            young.subscribe(List.of(topic));
            Check.fails(FencedInstanceIdException.class, () -> {
                Check.until("the fencing", () -> {
                    young.poll(Duration.ofMillis(50));
                    old.poll(Duration.ofMillis(50));
                    return false;
                });
                return null;
            });
        }
    }

    /** A member that stops polling (max.poll.interval.ms) leaves; the other takes over. */
    private static void silent(String topic) throws Exception {
        String group = "silent-" + topic;
        try (KafkaConsumer<String, String> silent = member(group, RangeAssignor.class, "max.poll.interval.ms", 1500);
             KafkaConsumer<String, String> busy = member(group, RangeAssignor.class)) {
            silent.subscribe(List.of(topic));
            Check.until("an assignment", () -> {
                silent.poll(Duration.ofMillis(100));
                return silent.assignment().size() == 3;
            });
            busy.subscribe(List.of(topic));
            Check.until("the busy member has everything", () -> {
                busy.poll(Duration.ofMillis(100));
                return busy.assignment().size() == 3;
            });
        }
    }

    private static void subscriptionChange(String topic) throws Exception {
        Check.create(topic + "-more", 2, Map.of());
        try (KafkaConsumer<String, String> consumer = member("change-" + topic, CooperativeStickyAssignor.class)) {
            consumer.subscribe(List.of(topic));
            Check.until("the first topic", () -> {
                consumer.poll(Duration.ofMillis(100));
                return consumer.assignment().size() == 3;
            });
            consumer.subscribe(List.of(topic, topic + "-more"));
            Check.until("both topics", () -> {
                consumer.poll(Duration.ofMillis(100));
                return consumer.assignment().size() == 5;
            });
            consumer.unsubscribe();
            Check.equal(Set.of(), consumer.assignment(), "assignment");
        }
    }
}
