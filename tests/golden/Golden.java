import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.utils.ImplicitLinkedHashMultiCollection;

/**
 * Fills every message of Apache Kafka's jars with made-up values, at every version and in several shapes, and writes
 * its bytes; also as they are at the other versions, for the rules of fields that a version lacks.
 *
 * Arguments: the directory for messages.bin, errors.txt and apis.txt, then the jars that hold the messages.
 */
public class Golden {
    enum Shape { DEFAULT, FULL, NULLS, EMPTY, LONG }

    private final Shape shape;
    private int count = 0;

    Golden(Shape shape) {
        this.shape = shape;
    }

    public static void main(String[] args) throws Exception {
        String directory = args[0] + "/";
        try (DataOutputStream out = new DataOutputStream(
                new BufferedOutputStream(new FileOutputStream(directory + "messages.bin")))) {
            for (Class<?> type : messages(Arrays.copyOfRange(args, 1, args.length))) {
                Message one = (Message) type.getConstructor().newInstance();
                short low = one.lowestSupportedVersion();
                short high = one.highestSupportedVersion();
                for (Shape shape : Shape.values()) {
                    for (short from = low; from <= high; from++) {
                        Message message = (Message) new Golden(shape).fill(type, from);
                        boolean edge = from == low || from == high;
                        for (short to = edge ? low : from; to <= (edge ? high : from); to++) {
                            write(out, message, shape, from, to);
                        }
                    }
                }
            }
        }
        try (DataOutputStream out = new DataOutputStream(new FileOutputStream(directory + "errors.txt"))) {
            for (Errors e : Errors.values()) {
                out.writeBytes(e.code() + " " + e + " " + (e.exception() instanceof RetriableException) + "\n");
            }
        }
        try (DataOutputStream out = new DataOutputStream(new FileOutputStream(directory + "apis.txt"))) {
            for (ApiKeys key : ApiKeys.values()) {
                for (short v = 0; v <= key.latestVersion(true); v++) {
                    if (key.hasValidVersion() && v >= key.messageType.lowestSupportedVersion()) {
                        out.writeBytes(String.format("%d %s %d %b %d %d %b %b%n", key.id, key.name, v,
                            key.isVersionEnabled(v, false), key.requestHeaderVersion(v), key.responseHeaderVersion(v),
                            key.inScope(ListenerType.BROKER), key.inScope(ListenerType.CONTROLLER)));
                    }
                }
            }
        }
    }

    /** The classes of messages, by name. */
    private static List<Class<?>> messages(String[] jars) throws Exception {
        TreeSet<String> names = new TreeSet<>();
        for (String jar : jars) {
            try (JarFile file = new JarFile(jar)) {
                file.stream().map(entry -> entry.getName())
                    .filter(name -> name.matches("(.*/common/(message|metadata)|.*/generated)/[A-Za-z]*\\.class"))
                    .filter(name -> !name.endsWith("JsonConverter.class"))
                    .forEach(name -> names.add(name.replace('/', '.').replaceAll("\\.class$", "")));
            }
        }
        List<Class<?>> types = new ArrayList<>();
        for (String name : names) {
            Class<?> type = Class.forName(name, false, Golden.class.getClassLoader());
            // What has no version has been removed.
            if (Message.class.isAssignableFrom(type) && !type.isInterface()
                    && type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null) >= 0) {
                types.add(type);
            }
        }
        return types;
    }

    /** One entry: name, shape, versions, the bytes at `from`, the bytes at `to` (length -1 if they cannot be). */
    private static void write(DataOutputStream out, Message message, Shape shape, short from, short to)
            throws Exception {
        byte[] first = bytes(message, from);
        byte[] second;
        try {
            second = bytes(message, to);
        } catch (RuntimeException e) {
            if (from == to) {
                throw e;
            }
            second = null;
        }
        out.writeUTF(message.getClass().getSimpleName());
        out.writeByte(shape.ordinal());
        out.writeShort(from);
        out.writeShort(to);
        out.writeInt(first.length);
        out.write(first);
        out.writeInt(second == null ? -1 : second.length);
        if (second != null) {
            out.write(second);
        }
    }

    private static byte[] bytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(message.getClass() + " is shorter than its size");
        }
        return buffer.array();
    }

    /** A new object whose fields of the version have values. */
    private Object fill(Class<?> type, short version) throws Exception {
        Object object = type.getConstructor().newInstance();
        Map<String, Type> schema = new LinkedHashMap<>();
        for (BoundField field : ((Schema[]) type.getField("SCHEMAS").get(null))[version].fields()) {
            if (field.def.type instanceof TaggedFields) {
                ((TaggedFields) field.def.type).fields().values().forEach(f -> schema.put(plain(f.name), f.type));
            } else {
                schema.put(plain(field.def.name), field.def.type);
            }
        }
        for (Field field : type.getDeclaredFields()) {
            Type own = schema.remove(plain(field.getName()));
            if (own == null || Modifier.isStatic(field.getModifiers())) {
                continue;
            }
            field.setAccessible(true);
            if (shape != Shape.DEFAULT) {
                field.set(object, value(field, own, version));
            } else if (field.get(object) == null && !own.isNullable()) {
                // Records are null by default even where they must not be.
                field.set(object, MemoryRecords.EMPTY);
            }
        }
        if (!schema.isEmpty()) {
            throw new IllegalStateException(type + " lacks " + schema);
        }
        return object;
    }

    private static String plain(String name) {
        return name.replace("_", "").toLowerCase(Locale.ROOT);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private Object value(Field field, Type schema, short version) throws Exception {
        if (shape == Shape.NULLS && schema.isNullable()) {
            return null;
        }
        Class<?> type = field.getType();
        if (ImplicitLinkedHashMultiCollection.class.isAssignableFrom(type)) {
            ImplicitLinkedHashMultiCollection all = (ImplicitLinkedHashMultiCollection) type.getConstructor().newInstance();
            Class<?> element = (Class<?>) ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            for (int i = 0; i < elements(element); i++) {
                all.add((ImplicitLinkedHashMultiCollection.Element) scalar(element, "", version));
            }
            return all;
        }
        if (List.class.isAssignableFrom(type)) {
            Class<?> element = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
            List<Object> all = new ArrayList<>();
            for (int i = 0; i < elements(element); i++) {
                all.add(scalar(element, "", version));
            }
            return all;
        }
        return scalar(type, schema.toString(), version);
    }

    private int elements(Class<?> element) {
        switch (shape) {
            case EMPTY: return 0;
            case NULLS: return 1;
            case LONG: return Message.class.isAssignableFrom(element) ? 2 : 130;
            default: return 2;
        }
    }

    private Object scalar(Class<?> type, String schema, short version) throws Exception {
        boolean least = shape == Shape.EMPTY;
        int n = ++count;
        if (type == boolean.class) {
            return !least;
        } else if (type == byte.class || type == Byte.class) {
            return least ? Byte.MIN_VALUE : (byte) (n % 127 + 1);
        } else if (type == short.class || type == Short.class) {
            return least ? Short.MIN_VALUE : (short) (0x0102 + n);
        } else if (schema.equals("UINT16")) {
            return least ? 0 : 0xff00 + n % 256;
        } else if (schema.equals("UINT32") || schema.equals("UNSIGNED_INT32")) {
            return least ? 0L : 0xff000000L + n;
        } else if (type == int.class || type == Integer.class) {
            return least ? Integer.MIN_VALUE : 0x01020304 + n;
        } else if (type == long.class || type == Long.class) {
            return least ? Long.MIN_VALUE : 0x0102030405060708L + n;
        } else if (type == double.class) {
            return least ? -0.0 : n + 0.25;
        } else if (type == Uuid.class) {
            return least ? Uuid.ZERO_UUID : new Uuid(0x1112131415161718L + n, ~(long) n);
        } else if (type == String.class) {
            return text(n);
        } else if (type == byte[].class) {
            return text(n).getBytes("UTF-8");
        } else if (ByteBuffer.class.isAssignableFrom(type)) {
            return ByteBuffer.wrap(text(n).getBytes("UTF-8"));
        } else if (type.getSimpleName().equals("BaseRecords")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(text(n).getBytes("UTF-8")));
        } else if (Message.class.isAssignableFrom(type)) {
            return fill(type, version);
        }
        throw new IllegalStateException("no values for " + type);
    }

    private String text(int n) {
        switch (shape) {
            case EMPTY: return "";
            case LONG: return "x".repeat(200) + n;
            default: return "\u0142\u00f3d\u017a-" + n;
        }
    }
}
