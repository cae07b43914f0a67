import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Drives Caffeine with the workload of the other side.
 *
 * <p>{@code CaffeinePeer KEYS VALUE_BYTES ROOM SEQUENCE_FILE...}: fills the cache, prints a line, then answers each line "get|set THREADS
 * SECONDS" of standard input with one JSON object. A thread goes through its sequence file (32-bit little-endian key numbers) with key
 * strings of its own, on a core of its own.
 */
public final class CaffeinePeer {
    static final int BATCH = 1024;
    static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    final Cache<String, byte[]> cache;
    final int valueBytes;

    CaffeinePeer(long room, int valueBytes) {
        cache = Caffeine.newBuilder().maximumSize(room).build();
        this.valueBytes = valueBytes;
    }

    byte[] value() {
        byte[] value = new byte[valueBytes];
        Arrays.fill(value, (byte) 'x');
        return value;
    }

    static String[] keys(int count) {
        String[] keys = new String[count];
        for (int index = 0; index < count; index++) keys[index] = String.format("key:%013d", index);
        return keys;
    }

    /** What one thread works with; it goes on in its sequence where it stopped. */
    static final class Worker {
        final String[] keys;
        final int[] numbers;
        final ExecutorService executor;
        int position;

        Worker(int thread, int keyCount, String path) throws Exception {
            keys = keys(keyCount);
            IntBuffer buffer = ByteBuffer.wrap(Files.readAllBytes(Path.of(path))).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
            numbers = new int[buffer.remaining()];
            buffer.get(numbers);
            String name = "bench-" + thread;
            executor = Executors.newSingleThreadExecutor(body -> {
                Thread created = new Thread(body, name);
                created.setDaemon(true);
                return created;
            });
            executor.submit(() -> {}).get();
            int cores = Runtime.getRuntime().availableProcessors();
            pin(name, cores - 1 - thread % cores);
        }
    }

    /** Java knows no affinity: the thread is found by its name and pinned by {@code taskset}. */
    static void pin(String name, int core) throws IOException, InterruptedException {
        for (File task : new File("/proc/self/task").listFiles()) {
            if (!Files.readString(task.toPath().resolve("comm")).trim().equals(name)) continue;
            Process process = new ProcessBuilder("taskset", "-cp", Integer.toString(core), task.getName())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            if (process.waitFor() == 0) return;
        }
        throw new IOException("cannot pin " + name);
    }

    long misses(Worker worker, String operation, double seconds, CountDownLatch start, double[] nanoseconds, double[] used,
            long[] operations, int thread)
            throws InterruptedException {
        start.countDown();
        start.await();
        long misses = 0, count = 0, beginUsed = CLOCK.getCurrentThreadCpuTime(), begin = System.nanoTime(), now = begin;
        long length = (long) (seconds * 1e9);
        while (now - begin < length) {
            if (worker.position + BATCH > worker.numbers.length) worker.position = 0;
            misses += operation.equals("set") ? set(worker) : get(worker);
            worker.position += BATCH;
            count += BATCH;
            now = System.nanoTime();
        }
        nanoseconds[thread] = (double) (now - begin) / count;
        used[thread] = (double) (CLOCK.getCurrentThreadCpuTime() - beginUsed) / count;
        operations[thread] = count;
        return misses;
    }

    int get(Worker worker) {
        int misses = 0;
        for (int index = worker.position; index < worker.position + BATCH; index++) {
            byte[] value = cache.getIfPresent(worker.keys[worker.numbers[index]]);
            if (value == null || value[0] == 0) misses++;
        }
        return misses;
    }

    int set(Worker worker) {
        for (int index = worker.position; index < worker.position + BATCH; index++) {
            cache.put(worker.keys[worker.numbers[index]], value());
        }
        return 0;
    }

    String run(Worker[] workers, String operation, int threads, double seconds) throws Exception {
        CountDownLatch start = new CountDownLatch(threads);
        double[] nanoseconds = new double[threads], used = new double[threads];
        long[] operations = new long[threads];
        Future<?>[] results = new Future<?>[threads];
        for (int index = 0; index < threads; index++) {
            int thread = index;
            results[index] = workers[index].executor.submit(
                () -> misses(workers[thread], operation, seconds, start, nanoseconds, used, operations, thread));
        }
        long misses = 0;
        for (Future<?> result : results) misses += (Long) result.get();
        return "{\"nanoseconds\":" + Arrays.toString(nanoseconds) + ",\"used\":" + Arrays.toString(used) + ",\"operations\":"
            + Arrays.stream(operations).sum() + ",\"misses\":" + misses + "}";
    }

    public static void main(String[] arguments) throws Exception {
        int keyCount = Integer.parseInt(arguments[0]), valueBytes = Integer.parseInt(arguments[1]);
        CaffeinePeer peer = new CaffeinePeer(Long.parseLong(arguments[2]), valueBytes);
        Worker[] workers = new Worker[arguments.length - 3];
        for (int thread = 0; thread < workers.length; thread++) workers[thread] = new Worker(thread, keyCount, arguments[3 + thread]);
        // Strings that no thread asks with: the same object would be found equal without a look at its bytes.
        for (String key : keys(keyCount)) peer.cache.put(key, peer.value());
        peer.cache.cleanUp();
        // The compiler needs a while until the loops are as fast as they get.
        for (int threads = 1; threads <= workers.length; threads++) peer.run(workers, "get", threads, 1);
        System.gc();
        System.out.println("ready");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.trim().split(" ");
            System.out.println(peer.run(workers, words[0], Integer.parseInt(words[1]), Double.parseDouble(words[2])));
        }
        System.exit(0);
    }
}
