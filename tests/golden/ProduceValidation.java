// Lets Apache Kafka's own classes judge produced batches, good and bad. One line per case:
//     case rules input-hex "ok" output-hex            what would be written, at offset 1000 in epoch 5
//     case rules input-hex "error" code [batch indexes of refused records]
// The result is produce_validation.txt, read by src/wire/record/tests/kafka.rs. To make it again:
//     java -cp '<directory of the Kafka 4.3.1 jars>/*' tests/golden/ProduceValidation.java > tests/golden/produce_validation.txt

import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.storage.internals.log.*;

public class ProduceValidation {
    static final long NOW = 1700000000000L;

    record Rules(String name, TimestampType type, long before, long after, boolean compacted, CompressionType target,
                 AppendOrigin origin, int version, int maxBytes) {
        Rules(String name) {
            this(name, TimestampType.CREATE_TIME, Long.MAX_VALUE, 3_600_000, false, null, AppendOrigin.CLIENT, 13, 1 << 20);
        }
    }

    static final TimestampType CREATE = TimestampType.CREATE_TIME;
    static final Rules DEFAULT = new Rules("default");
    static final Rules APPEND_TIME = new Rules("append-time", TimestampType.LOG_APPEND_TIME, Long.MAX_VALUE, 3_600_000, false, null, AppendOrigin.CLIENT, 13, 1 << 20);
    static final Rules BOUNDED = new Rules("bounded", CREATE, 10, 20, false, null, AppendOrigin.CLIENT, 13, 1 << 20);
    static final Rules COMPACTED = new Rules("compacted", CREATE, 10, 20, true, null, AppendOrigin.CLIENT, 13, 1 << 20);
    static final Rules COORDINATOR = new Rules("coordinator", CREATE, Long.MAX_VALUE, 3_600_000, false, CompressionType.GZIP, AppendOrigin.COORDINATOR, 13, 1 << 20);
    static final Rules OLD = new Rules("version-6", CREATE, Long.MAX_VALUE, 3_600_000, false, null, AppendOrigin.CLIENT, 6, 1 << 20);
    static final Rules SMALL = new Rules("max-98", CREATE, Long.MAX_VALUE, 3_600_000, false, null, AppendOrigin.CLIENT, 13, 98);

    static Rules to(CompressionType type) {
        return new Rules("to-" + type.name, CREATE, Long.MAX_VALUE, 3_600_000, false, type, AppendOrigin.CLIENT, 13, 1 << 20);
    }

    public static void main(String[] args) throws Exception {
        for (CompressionType type : CompressionType.values()) {
            byte[] good = batch(type);
            for (Rules rules : List.of(DEFAULT, APPEND_TIME, BOUNDED, COMPACTED, OLD)) judge("good-" + type.name, rules, good);
        }
        for (CompressionType type : CompressionType.values()) {
            judge("good-none", to(type), batch(CompressionType.NONE));
            judge("good-lz4", to(type), batch(CompressionType.LZ4));
        }
        for (CompressionType type : List.of(CompressionType.NONE, CompressionType.ZSTD)) {
            byte[] good = batch(type);
            String of = "-" + type.name;
            judge("append-time" + of, DEFAULT, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 8))));
            judge("append-time" + of, APPEND_TIME, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 8))));
            judge("append-time-unset" + of, DEFAULT, header(good, b -> { b.putShort(21, (short) (b.getShort(21) | 8)); b.putLong(35, -1); }));
            judge("max-timestamp-wrong" + of, DEFAULT, header(good, b -> b.putLong(35, 5)));
            judge("max-timestamp-wrong" + of, APPEND_TIME, header(good, b -> b.putLong(35, NOW)));
            judge("base-offset" + of, DEFAULT, header(good, b -> b.putLong(0, 3)));
            judge("epoch-set" + of, DEFAULT, header(good, b -> b.putInt(12, 77)));
            judge("count-less" + of, DEFAULT, header(good, b -> b.putInt(57, 2)));
            judge("count-more" + of, DEFAULT, header(good, b -> b.putInt(57, 4)));
            judge("count-and-delta-less" + of, DEFAULT, header(good, b -> { b.putInt(57, 2); b.putInt(23, 1); }));
            judge("count-and-delta-more" + of, DEFAULT, header(good, b -> { b.putInt(57, 4); b.putInt(23, 3); }));
            judge("count-zero" + of, DEFAULT, header(good, b -> { b.putInt(57, 0); b.putInt(23, -1); }));
            judge("count-negative" + of, DEFAULT, header(good, b -> b.putInt(57, -3)));
            judge("count-minimum" + of, DEFAULT, header(good, b -> { b.putInt(57, Integer.MIN_VALUE); b.putInt(23, Integer.MIN_VALUE); }));
            judge("delta-negative" + of, DEFAULT, header(good, b -> b.putInt(23, -5)));
            judge("delta-maximum" + of, DEFAULT, header(good, b -> { b.putInt(57, Integer.MIN_VALUE); b.putInt(23, Integer.MAX_VALUE); }));
            judge("control" + of, DEFAULT, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 32))));
            judge("control" + of, COORDINATOR, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 32))));
            judge("no-sequence" + of, DEFAULT, header(good, b -> b.putLong(43, 9)));
            judge("no-sequence" + of, COORDINATOR, header(good, b -> b.putLong(43, 9)));
            judge("producer" + of, DEFAULT, header(good, b -> { b.putLong(43, 9); b.putShort(51, (short) 2); b.putInt(53, 40); }));
            judge("transactional" + of, DEFAULT, header(good, b -> { b.putShort(21, (short) (b.getShort(21) | 16)); b.putLong(43, 9); b.putShort(51, (short) 2); b.putInt(53, 40); }));
            judge("unused-attributes" + of, DEFAULT, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 0x7f80))));
            judge("delete-horizon" + of, DEFAULT, header(good, b -> b.putShort(21, (short) (b.getShort(21) | 0x40))));
            judge("codec-5" + of, DEFAULT, header(good, b -> b.putShort(21, (short) 5)));
            judge("wrong-codec" + of, DEFAULT, header(good, b -> b.putShort(21, (short) 3)));
            judge("too-large" + of, SMALL, good);
            judge("bad-crc" + of, DEFAULT, flip(good, 70));
            judge("bad-crc-and-offset" + of, DEFAULT, flip(good, 7));
            for (byte magic : new byte[] {-1, 0, 1, 3}) judge("magic-" + magic + of, DEFAULT, raw(good, b -> b.put(16, magic)));
            for (int length : new int[] {-1, 0, 13, 14, 48}) judge("length-" + length + of, DEFAULT, raw(good, b -> b.putInt(8, length)));
            judge("two" + of, DEFAULT, concat(good, good));
            judge("two-second-bad-crc" + of, DEFAULT, concat(good, flip(good, 70)));
            judge("cut-after" + of, DEFAULT, concat(good, Arrays.copyOf(good, 30)));
            judge("cut-after-short" + of, DEFAULT, concat(good, new byte[11]));
            judge("zeros-after" + of, DEFAULT, concat(good, new byte[100]));
            judge("cut" + of, DEFAULT, Arrays.copyOf(good, good.length - 1));
            judge("cut-header" + of, DEFAULT, Arrays.copyOf(good, 40));
            judge("empty" + of, DEFAULT, new byte[0]);
        }
        for (CompressionType type : List.of(CompressionType.NONE, CompressionType.SNAPPY)) {
            records("record-empty", type, 1, new byte[] {0});
            records("record-negative-length", type, 1, new byte[] {1});
            records("record-long", type, 1, new byte[] {16, 0, 0, 0, 2, 'k', 1, 0});
            records("record-short", type, 1, new byte[] {12, 0, 0, 0, 2, 'k', 1, 0});
            records("record-slack", type, 1, new byte[] {16, 0, 0, 0, 2, 'k', 1, 0, 0});
            records("record-trailing", type, 1, new byte[] {14, 0, 0, 0, 2, 'k', 1, 0, 0});
            records("record-missing", type, 2, new byte[] {14, 0, 0, 0, 2, 'k', 1, 0});
            records("key-long", type, 1, new byte[] {14, 0, 0, 0, 20, 'k', 1, 0});
            records("key-minus-2", type, 1, new byte[] {12, 0, 0, 0, 3, 1, 0});
            records("headers-negative", type, 1, new byte[] {14, 0, 0, 0, 2, 'k', 1, 1});
            records("headers-missing", type, 1, new byte[] {14, 0, 0, 0, 2, 'k', 1, 2});
            records("header-null-key", type, 1, new byte[] {18, 0, 0, 0, 2, 'k', 1, 2, 1, 1});
            records("varint-long", type, 1, new byte[] {14, 0, -1, -1, -1, -1, -1, -1});
            records("deltas-equal", type, 2, new byte[] {14, 0, 0, 0, 2, 'k', 1, 0, 14, 0, 0, 0, 2, 'l', 1, 0});
            records("deltas-gap", type, 2, new byte[] {14, 0, 0, 6, 2, 'k', 1, 0, 14, 0, 0, 12, 2, 'l', 1, 0});
            records("record-attributes", type, 1, new byte[] {14, 127, 0, 0, 2, 'k', 1, 0});
        }
    }

    // Three records; the second has headers, the third no key.
    static byte[] batch(CompressionType type) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1024), RecordBatch.MAGIC_VALUE_V2,
            Compression.of(type).build(), CREATE, 0, -1, -1, (short) -1, -1, false, -1);
        builder.append(NOW, bytes("a"), bytes("one"));
        builder.append(NOW + 21, bytes("b"), null, new Header[] {new RecordHeader("h", bytes("x")), new RecordHeader("n", (byte[]) null)});
        builder.append(NOW - 11, null, bytes("three"));
        return array(builder.build().buffer());
    }

    // A batch around these record bytes.
    static void records(String name, CompressionType type, int count, byte[] records) throws Exception {
        ByteBufferOutputStream out = new ByteBufferOutputStream(512);
        out.write(new byte[61]);
        try (var stream = Compression.of(type).build().wrapForOutput(out, RecordBatch.MAGIC_VALUE_V2)) {
            stream.write(records);
        }
        out.buffer().flip();
        byte[] batch = array(out.buffer());
        batch = header(batch, b -> {
            b.putInt(8, b.limit() - 12).put(16, (byte) 2).putShort(21, type.id).putInt(23, count - 1).putLong(27, NOW)
                .putLong(35, NOW).putLong(43, -1).putShort(51, (short) -1).putInt(53, -1).putInt(57, count);
        });
        judge(name + "-" + type.name, DEFAULT, batch);
    }

    static void judge(String name, Rules rules, byte[] input) {
        String hex = input.length == 0 ? "-" : HexFormat.of().formatHex(input);
        String outcome;
        try {
            outcome = "ok " + HexFormat.of().formatHex(array(append(rules, input.clone()).buffer().duplicate()));
        } catch (RecordValidationException e) {
            StringBuilder indexes = new StringBuilder();
            e.recordErrors().forEach(r -> indexes.append(' ').append(r.batchIndex));
            outcome = "error " + Errors.forException(e.invalidException()).code() + indexes;
        } catch (Exception e) {
            outcome = "error " + Errors.forException(e).code();
        }
        System.out.println(name + " " + rules.name + " " + hex + " " + outcome);
    }

    // What a Produce request goes through: its own check, the log's look at the headers, and LogValidator.
    static MemoryRecords append(Rules rules, byte[] input) {
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(input));
        if (rules.origin == AppendOrigin.CLIENT) ProduceRequest.validateRecords((short) rules.version, records);
        int valid = 0;
        CompressionType source = CompressionType.NONE;
        for (MutableRecordBatch batch : records.batches()) {
            if (rules.origin == AppendOrigin.CLIENT && batch.baseOffset() != 0) throw new InvalidRecordException("base offset");
            if (batch.sizeInBytes() > rules.maxBytes) throw new RecordTooLargeException("size");
            if (!batch.isValid()) throw new CorruptRecordException("crc");
            valid += batch.sizeInBytes();
            if (batch.compressionType() != CompressionType.NONE) source = batch.compressionType();
        }
        records = MemoryRecords.readableRecords(ByteBuffer.wrap(Arrays.copyOf(input, valid)));
        CompressionType target = rules.target == null ? source : rules.target;
        return new LogValidator(records, new TopicPartition("t", 0), TIME, source, Compression.of(target).build(),
            rules.compacted, RecordBatch.MAGIC_VALUE_V2, rules.type, rules.before, rules.after, 5, rules.origin)
            .validateMessagesAndAssignOffsets(PrimitiveRef.ofLong(1000), new NoMetrics(), BufferSupplier.NO_CACHING)
            .validatedRecords();
    }

    static byte[] header(byte[] batch, Consumer<ByteBuffer> change) {
        byte[] changed = raw(batch, change);
        ByteBuffer.wrap(changed).putInt(17, (int) Crc32C.compute(changed, 21, changed.length - 21));
        return changed;
    }

    static byte[] raw(byte[] batch, Consumer<ByteBuffer> change) {
        byte[] changed = batch.clone();
        change.accept(ByteBuffer.wrap(changed));
        return changed;
    }

    static byte[] flip(byte[] batch, int at) {
        return raw(batch, b -> b.put(at, (byte) (b.get(at) ^ 1)));
    }

    static byte[] concat(byte[] a, byte[] b) {
        byte[] both = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, both, a.length, b.length);
        return both;
    }

    static byte[] array(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static class NoMetrics implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    }

    // Only asked for the time.
    static final Time TIME = (Time) Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[] {Time.class},
        (proxy, method, arguments) -> method.getName().equals("milliseconds") ? NOW : 0L);
}
