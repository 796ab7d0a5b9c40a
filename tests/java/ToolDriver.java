import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command-line tools one after the other in one JVM: reads
 * {"main": class, "args": [...], "stdin": text} a line, answers {"exit": code, "out": text, "err": text}.
 */
public final class ToolDriver {
    /** Thrown in place of ending the JVM. Some tools catch it and exit once more: the first status counts. */
    private static final class Ended extends Error {
    }

    private static final PrintStream ANSWERS = System.out;
    private static Integer status;

    public static void main(String[] args) throws Exception {
        ObjectMapper json = new ObjectMapper();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            List<String> arguments = new ArrayList<>();
            request.get("args").forEach(a -> arguments.add(a.asText()));
            ObjectNode answer = json.createObjectNode();
            run(request.get("main").asText(), arguments.toArray(new String[0]), request.path("stdin").asText(""), answer);
            ANSWERS.println(json.writeValueAsString(answer));
            ANSWERS.flush();
        }
    }

    private static void run(String main, String[] arguments, String stdin, ObjectNode answer) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        List<Runnable> hooks = new ArrayList<>();
        status = null;
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setIn(new ByteArrayInputStream(stdin.getBytes("UTF-8")));
        System.setOut(new PrintStream(out, true, "UTF-8"));
        System.setErr(new PrintStream(err, true, "UTF-8"));
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (status == null) {
                e.getCause().printStackTrace();
                status = 1;
            }
        }
        for (Runnable hook : hooks) {
            hook.run();
        }
        System.out.flush();
        System.err.flush();
        answer.put("exit", status == null ? 0 : status);
        answer.put("out", out.toString("UTF-8"));
        answer.put("err", err.toString("UTF-8"));
    }

    private static void end(int code) {
        if (status == null) {
            status = code;
        }
        throw new Ended();
    }
}
