package millrace.bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** One thread: its share of the partitions, its own consumer, producer and session. */
final class Worker implements Callable<Void> {
    private static final int BATCH = 10_000;

    private final Peer.Options options;
    private final int index;
    private final OrtEnvironment environment;
    private final AtomicReference<Exception> lost = new AtomicReference<>();

    Worker(Peer.Options options, int index, OrtEnvironment environment) {
        this.options = options;
        this.index = index;
        this.environment = environment;
    }

    @Override
    public Void call() throws Exception {
        RowReader reader = RowReader.open(Files.json(options.model()));
        try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
            settings.setIntraOpNumThreads(1);
            settings.setInterOpNumThreads(1);
            try (OrtSession session = environment.createSession(Files.onnx(options.model()), settings);
                    KafkaConsumer<byte[], byte[]> consumer = openConsumer();
                    KafkaProducer<byte[], byte[]> producer = openProducer()) {
                loop(reader, session, consumer, producer, assign(consumer));
                producer.flush();
            }
        }
        if (lost.get() != null) {
            throw lost.get();
        }
        return null;
    }

    private void loop(RowReader reader, OrtSession session, KafkaConsumer<byte[], byte[]> consumer,
            KafkaProducer<byte[], byte[]> producer, long waiting) throws IOException, OrtException {
        int width = reader.width();
        FloatBuffer x = ByteBuffer.allocateDirect(BATCH * width * Float.BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer();
        long left = waiting;
        while ((options.follow() || left > 0) && lost.get() == null) {
            ConsumerRecords<byte[], byte[]> batch = consumer.poll(Duration.ofMillis(100));
            if (batch.isEmpty()) {
                continue;
            }
            x.clear();
            for (ConsumerRecord<byte[], byte[]> record : batch) {
                reader.read(record.value(), x);
            }
            int rows = batch.count();
            left -= rows;
            x.flip();
            try (OnnxTensor input = OnnxTensor.createTensor(environment, x, new long[] {rows, width});
                    OrtSession.Result result = session.run(Collections.singletonMap("x", input))) {
                LongBuffer classes = ((OnnxTensor) result.get(0)).getLongBuffer();
                for (ConsumerRecord<byte[], byte[]> record : batch) {
                    producer.send(new ProducerRecord<>(options.out(), output(record.offset(), classes.get())), (done, failure) -> {
                        if (failure != null) {
                            lost.compareAndSet(null, failure);
                        }
                    });
                }
            }
        }
    }

    @SuppressWarnings("deprecation") // the constructor takes the low bytes as they are: these are ASCII
    private static byte[] output(long id, long prediction) {
        String text = "{\"id\":" + id + ",\"prediction\":" + prediction + "}";
        byte[] bytes = new byte[text.length()];
        text.getBytes(0, bytes.length, bytes, 0);
        return bytes;
    }

    /** Every N-th partition, from its start. Returns how many records wait there. */
    private long assign(KafkaConsumer<byte[], byte[]> consumer) {
        List<TopicPartition> mine = new ArrayList<>();
        int count = consumer.partitionsFor(options.in()).size();
        for (int p = index; p < count; p += options.threads()) {
            mine.add(new TopicPartition(options.in(), p));
        }
        consumer.assign(mine);
        Map<TopicPartition, Long> begin = consumer.beginningOffsets(mine);
        Map<TopicPartition, Long> end = consumer.endOffsets(mine);
        long waiting = 0;
        for (TopicPartition partition : mine) {
            waiting += end.get(partition) - begin.get(partition);
            consumer.seek(partition, begin.get(partition));
        }
        return waiting;
    }

    private KafkaConsumer<byte[], byte[]> openConsumer() {
        return new KafkaConsumer<>(Map.of(
                "bootstrap.servers", options.brokers(),
                "enable.auto.commit", false,
                "max.poll.records", BATCH,
                "max.partition.fetch.bytes", 4 << 20,
                "fetch.max.wait.ms", options.follow() ? 5 : 100,
                "receive.buffer.bytes", -1), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private KafkaProducer<byte[], byte[]> openProducer() {
        return new KafkaProducer<>(Map.of(
                "bootstrap.servers", options.brokers(),
                "acks", "1",
                "enable.idempotence", false,
                "linger.ms", options.follow() ? 1 : 5,
                "batch.size", 256 << 10,
                "buffer.memory", 128L << 20,
                "send.buffer.bytes", -1), new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** The two files of a model. */
    private static final class Files {
        static Path json(Path model) {
            return model.resolveSibling(model.getFileName() + ".json");
        }

        static String onnx(Path model) {
            return model.resolveSibling(model.getFileName() + ".onnx").toString();
        }
    }
}
