import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.BinaryNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Sends single requests written as JSON with Apache Kafka's own message classes and returns the decoded answers as
 * JSON. A line in: {"op": "send"|"receive"|"call"|"versions"|"close", "address", "connection", "api", "version",
 * "body"}. Fields that the body does not name have their defaults; fields that the version does not have are
 * left out. Bytes are written {"hex": "..."}.
 */
public final class WireDriver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, Connection> CONNECTIONS = new HashMap<>();

    private static final class Connection {
        Socket socket;
        DataInputStream in;
        DataOutputStream out;
        int correlation = 100;
        ApiMessageType awaited;
        short version;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            ObjectNode answer;
            try {
                answer = run(JSON.readTree(line));
            } catch (EOFException | SocketException | SocketTimeoutException e) {
                drop(JSON.readTree(line));
                answer = JSON.createObjectNode().put(e instanceof SocketTimeoutException ? "silent" : "closed", true);
            } catch (Throwable t) {
                Throwable cause = t instanceof InvocationTargetException ? t.getCause() : t;
                answer = JSON.createObjectNode().put("failed", cause.toString());
            }
            System.out.println(JSON.writeValueAsString(answer));
            System.out.flush();
        }
    }

    private static String key(JsonNode request) {
        return request.get("address").asText() + " " + request.get("connection").asText();
    }

    private static void drop(JsonNode request) throws Exception {
        Connection connection = CONNECTIONS.remove(key(request));
        if (connection != null) {
            connection.socket.close();
        }
    }

    private static ObjectNode run(JsonNode request) throws Exception {
        String op = request.get("op").asText();
        if (op.equals("versions")) {
            ArrayNode all = JSON.createArrayNode();
            for (ApiMessageType type : ApiMessageType.values()) {
                all.addArray().add(type.apiKey()).add(type.lowestSupportedVersion()).add(type.highestSupportedVersion(false));
            }
            return JSON.createObjectNode().set("versions", all);
        }
        if (op.equals("close")) {
            drop(request);
            return JSON.createObjectNode();
        }
        Connection connection = CONNECTIONS.get(key(request));
        if (connection == null) {
            connection = new Connection();
            String[] address = request.get("address").asText().split(":");
            connection.socket = new Socket(address[0], Integer.parseInt(address[1]));
            connection.socket.setTcpNoDelay(true);
            connection.socket.setSoTimeout(12_000);
            connection.in = new DataInputStream(connection.socket.getInputStream());
            connection.out = new DataOutputStream(connection.socket.getOutputStream());
            CONNECTIONS.put(key(request), connection);
        }
        if (!op.equals("receive")) {
            send(connection, request);
        }
        return op.equals("send") ? JSON.createObjectNode() : receive(connection);
    }

    private static void send(Connection connection, JsonNode request) throws Exception {
        short api = (short) request.get("api").asInt();
        short version = (short) request.get("version").asInt();
        connection.correlation++;
        connection.awaited = ApiMessageType.fromApiKey(api);
        connection.version = version;
        short headerVersion = connection.awaited.requestHeaderVersion(version);
        RequestHeaderData header = header(connection, api, version);
        ApiMessage message = connection.awaited.newRequest();
        JsonNode body = complete(request.get("body"), message.getClass(), version);
        Class<?> type = message.getClass();
        message = (ApiMessage) converter(type).getMethod("read", JsonNode.class, short.class).invoke(null, body, version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = header.size(cache, headerVersion) + message.size(cache, version);
        ByteBuffer bytes = ByteBuffer.allocate(size);
        header.write(new ByteBufferAccessor(bytes), cache, headerVersion);
        message.write(new ByteBufferAccessor(bytes), cache, version);
        bytes.flip();
        connection.out.writeInt(bytes.remaining());
        connection.out.write(bytes.array(), 0, bytes.limit());
        connection.out.flush();
    }

    private static RequestHeaderData header(Connection connection, short api, short version) {
        return new RequestHeaderData().setRequestApiKey(api).setRequestApiVersion(version)
            .setCorrelationId(connection.correlation).setClientId("differ");
    }

    private static ObjectNode receive(Connection connection) throws Exception {
        byte[] frame = new byte[connection.in.readInt()];
        connection.in.readFully(frame);
        ByteBuffer buffer = ByteBuffer.wrap(frame);
        ObjectNode answer = JSON.createObjectNode();
        int correlation = buffer.getInt();
        if (correlation != connection.correlation) {
            return answer.put("failed", "correlation id " + correlation + ", not " + connection.correlation);
        }
        short version = connection.version;
        if (connection.awaited.responseHeaderVersion(version) > 0 && buffer.get() != 0) {
            return answer.put("failed", "tagged fields in the header");
        }
        ApiMessage message = connection.awaited.newResponse();
        message.read(new ByteBufferAccessor(buffer), version);
        JsonNode body = (JsonNode) converter(message.getClass()).getMethod("write", message.getClass(), short.class)
            .invoke(null, message, version);
        if (message instanceof FetchResponseData) {
            addRecords((FetchResponseData) message, body);
        }
        answer.set("body", body);
        if (buffer.hasRemaining()) {
            answer.put("trailing", buffer.remaining());
        }
        return answer;
    }

    private static void addRecords(FetchResponseData message, JsonNode body) {
        Iterator<JsonNode> topics = body.get("responses").iterator();
        for (var topic : message.responses()) {
            Iterator<JsonNode> partitions = topics.next().get("partitions").iterator();
            for (var partition : topic.partitions()) {
                String hex = null;
                if (partition.records() != null) {
                    ByteBuffer records = ((MemoryRecords) partition.records()).buffer();
                    byte[] copy = new byte[records.remaining()];
                    records.get(copy);
                    hex = HexFormat.of().formatHex(copy);
                }
                ((ObjectNode) partitions.next()).put("records", hex);
            }
        }
    }

    /** The converter class that Apache Kafka generates beside each message class. */
    private static Class<?> converter(Class<?> type) throws ClassNotFoundException {
        String name = type.getName();
        int nested = name.indexOf('$');
        return Class.forName(nested < 0 ? name + "JsonConverter"
            : name.substring(0, nested) + "JsonConverter" + name.substring(nested) + "JsonConverter");
    }

    /** The default message of a version as JSON, overlaid with what is given, at every depth. */
    private static JsonNode complete(JsonNode given, Class<?> type, short version) throws Exception {
        Object fresh = type.getConstructor().newInstance();
        ObjectNode node = (ObjectNode) converter(type).getMethod("write", type, short.class).invoke(null, fresh, version);
        for (Iterator<Map.Entry<String, JsonNode>> fields = given.fields(); fields.hasNext();) {
            Map.Entry<String, JsonNode> entry = fields.next();
            Field field = type.getDeclaredField(entry.getKey());
            if (!has(type, version, entry.getKey())) {
                continue;
            }
            JsonNode value = entry.getValue();
            Class<?> element = element(field);
            if (value.isObject() && value.has("hex")) {
                value = new BinaryNode(HexFormat.of().parseHex(value.get("hex").asText()));
            } else if (value.isObject() && element != null) {
                value = complete(value, element, version);
            } else if (value.isArray() && element != null) {
                ArrayNode all = JSON.createArrayNode();
                for (JsonNode one : value) {
                    all.add(complete(one, element, version));
                }
                value = all;
            }
            node.set(entry.getKey(), value);
        }
        return node;
    }

    /** Whether the version has the field, among its plain or its tagged ones. */
    private static boolean has(Class<?> type, short version, String name) throws Exception {
        Schema schema = ((Schema[]) type.getField("SCHEMAS").get(null))[version];
        for (BoundField field : schema.fields()) {
            if (same(field.def.name, name)) {
                return true;
            }
            if (field.def.type instanceof TaggedFields) {
                for (var tagged : ((TaggedFields) field.def.type).fields().values()) {
                    if (same(tagged.name, name)) {
                        return true;
                    }
                }
            }
        }
        return false;
    }

    private static boolean same(String inSchema, String inJson) {
        return inSchema.replace("_", "").equalsIgnoreCase(inJson);
    }

    /** The message class inside a field: its own, a list's, or a collection's; null for primitive types. */
    private static Class<?> element(Field field) {
        if (Message.class.isAssignableFrom(field.getType())) {
            return field.getType();
        }
        Type type = field.getGenericType();
        if (!(type instanceof ParameterizedType)) {
            type = field.getType().getGenericSuperclass();
        }
        if (type instanceof ParameterizedType) {
            Type argument = ((ParameterizedType) type).getActualTypeArguments()[0];
            if (argument instanceof Class<?> && Message.class.isAssignableFrom((Class<?>) argument)) {
                return (Class<?>) argument;
            }
        }
        return null;
    }
}
