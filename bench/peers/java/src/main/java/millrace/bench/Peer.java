package millrace.bench;

import ai.onnxruntime.OrtEnvironment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Scores a Kafka topic in plain Java: a poll loop a thread, Jackson's streaming parser, ONNX Runtime on the whole polled batch.
 * Peer --brokers HOST:PORT --in TOPIC --out TOPIC --model PATH [--threads N] [--follow]
 * PATH.onnx gives the class of each row, PATH.json names the features. Reads what the topic holds at start, then ends; with
 * --follow it goes on until it is terminated.
 */
public final class Peer {
    /** The command line. */
    record Options(String brokers, String in, String out, Path model, int threads, boolean follow) {
        static Options parse(String[] words) {
            Map<String, String> given = new HashMap<>();
            for (int i = 0; i < words.length; i++) {
                boolean flag = words[i].equals("--follow");
                if (!words[i].startsWith("--") || (!flag && i + 1 == words.length)) {
                    throw new IllegalArgumentException("unexpected word \"" + words[i] + "\"");
                }
                given.put(words[i], flag ? "" : words[++i]);
            }
            for (String key : List.of("--brokers", "--in", "--out", "--model")) {
                if (!given.containsKey(key)) {
                    throw new IllegalArgumentException(key + " is missing");
                }
            }
            return new Options(given.get("--brokers"), given.get("--in"), given.get("--out"), Path.of(given.get("--model")),
                    Integer.parseInt(given.getOrDefault("--threads", "1")), given.containsKey("--follow"));
        }
    }

    public static void main(String[] words) throws Exception {
        Options options = Options.parse(words);
        try (OrtEnvironment environment = OrtEnvironment.getEnvironment()) {
            ExecutorService pool = Executors.newFixedThreadPool(options.threads);
            List<Future<?>> running = new ArrayList<>();
            for (int i = 0; i < options.threads; i++) {
                Worker worker = new Worker(options, i, environment);
                running.add(pool.submit(worker));
            }
            pool.shutdown();
            for (Future<?> each : running) {
                each.get();
            }
        } catch (ExecutionException failure) {
            failure.getCause().printStackTrace();
            System.exit(1);
        }
    }

    private Peer() {}
}
