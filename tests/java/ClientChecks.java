import java.util.Map;
import org.apache.kafka.clients.admin.Admin;

/**
 * Apache Kafka's Java clients against a broker: prints `ok <name>` or `FAIL <name>: <why>` for each check and
 * `done` at the end. Argument: bootstrap servers.
 */
public final class ClientChecks {
    public static void main(String[] args) throws Exception {
        Check.bootstrap = args[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0], "request.timeout.ms", 20_000))) {
            Check.admin = admin;
            ProducerChecks.run();
            ConsumerChecks.run();
            GroupChecks.run();
            AdminChecks.run();
        }
        System.out.println("done");
        System.exit(Check.failed() == 0 ? 0 : 1);
    }
}
