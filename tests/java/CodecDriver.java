import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.utils.BufferSupplier;

/**
 * Reads record batches as a consumer does. A line in: {"batches": [hex, ...]}. A line out: {"read": [...]} with an array
 * of records for each batch, [offset, timestamp, key, value, [header key, header value, ...]], or a text that says why it
 * cannot be read.
 */
public final class CodecDriver {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            ArrayNode read = answer.putArray("read");
            for (JsonNode batch : JSON.readTree(line).get("batches")) {
                try {
                    read.add(records(HexFormat.of().parseHex(batch.asText())));
                } catch (Throwable t) {
                    Throwable cause = t.getCause() == null ? t : t.getCause();
                    read.add(cause.toString());
                }
            }
            System.out.println(JSON.writeValueAsString(answer));
            System.out.flush();
        }
    }

    private static ArrayNode records(byte[] bytes) {
        ArrayNode all = JSON.createArrayNode();
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
            batch.ensureValid();
            try (var records = batch.streamingIterator(BufferSupplier.NO_CACHING)) {
                while (records.hasNext()) {
                    Record record = records.next();
                    ArrayNode one = all.addArray().add(record.offset()).add(record.timestamp());
                    one.add(hex(record.key())).add(hex(record.value()));
                    ArrayNode headers = one.addArray();
                    for (var header : record.headers()) {
                        headers.add(header.key());
                        headers.add(header.value() == null ? null : HexFormat.of().formatHex(header.value()));
                    }
                }
            }
        }
        return all;
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null) {
            return null;
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HexFormat.of().formatHex(bytes);
    }
}
