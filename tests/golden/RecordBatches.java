// Writes record batches with Apache Kafka's own classes, one per line: a name, a space, the bytes in hex.
// The result is record_batches.hex, read by src/wire/record/tests.rs. To make it again:
//     java -cp '<directory of the Kafka 4.3.1 jars>/*' tests/golden/RecordBatches.java > tests/golden/record_batches.hex

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

public class RecordBatches {
    static final byte MAGIC = RecordBatch.MAGIC_VALUE_V2;

    public static void main(String[] args) throws Exception {
        for (CompressionType type : CompressionType.values()) {
            print(type.name, plain(Compression.of(type).build()));
            print(type.name + "-large", large(Compression.of(type).build()));
        }
        print("idempotent", builder(Compression.NONE, TimestampType.CREATE_TIME, 7, -1, 4000, (short) 3, 99, true, 12));
        print("log-append-time", builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, 7, 1700000009999L, -1, (short) -1, -1, false, 12));
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            print(type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(
                50, 1700000000000L, 4, 4000, (short) 3, new EndTransactionMarker(type, 21)));
        }
        LeaderChangeMessage.Voter voter = new LeaderChangeMessage.Voter().setVoterId(1);
        print("leader-change", MemoryRecords.withLeaderChangeMessage(0, 1700000000000L, 5, ByteBuffer.allocate(512),
            new LeaderChangeMessage().setVersion((short) 0).setLeaderId(1)
                .setVoters(List.of(voter)).setGrantingVoters(List.of(voter.duplicate()))));
        print("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0, 1700000000000L, 5, ByteBuffer.allocate(512),
            new SnapshotHeaderRecord().setVersion((short) 0).setLastContainedLogTimestamp(1700000000000L)));
        print("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(9, 1700000000000L, 5, ByteBuffer.allocate(512),
            new SnapshotFooterRecord().setVersion((short) 0)));
    }

    // Three records: key and value, no key, and a tombstone; with headers, one of them null.
    static MemoryRecords plain(Compression compression) {
        return builder(compression, TimestampType.CREATE_TIME, 7, -1, -1, (short) -1, -1, false, 12);
    }

    static MemoryRecords builder(Compression compression, TimestampType type, long baseOffset, long logAppendTime,
                                 long producerId, short epoch, int sequence, boolean transactional, int leaderEpoch) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1024), MAGIC, compression, type,
            baseOffset, logAppendTime, producerId, epoch, sequence, transactional, leaderEpoch);
        builder.append(1700000000000L, bytes("key"), bytes("value"));
        builder.append(1700000000123L, null, bytes("no key"), new Header[] {
            new RecordHeader("h1", bytes("x")), new RecordHeader("null", (byte[]) null)});
        builder.append(1699999999999L, bytes("gone"), null);
        return builder.build();
    }

    // One record of 70,000 bytes: more than one block of every codec's framing.
    static MemoryRecords large(Compression compression) {
        byte[] value = new byte[70_000];
        Arrays.fill(value, (byte) 'a');
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1024), MAGIC, compression,
            TimestampType.CREATE_TIME, 0, -1, -1, (short) -1, -1, false, 0);
        builder.append(1, null, value);
        return builder.build();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void print(String name, MemoryRecords records) {
        // The uncompressed large batch would be 140 KB of nothing.
        if (name.equals("none-large")) return;
        ByteBuffer buffer = records.buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }
}
