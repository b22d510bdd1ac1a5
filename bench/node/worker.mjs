// A BullMQ worker in one process: the Node.js side of the throughput and idle-latency benchmarks.
//
//   node worker.mjs --port 6379 --queue NAME --concurrency 50 [--record-start]
//
// Runs until SIGTERM. With --record-start each job returns the nanoseconds from `data.added_ns` (the machine's
// monotonic clock, the same for every process) to the start of its processor. Prints "ready" once it waits for jobs.

import { parseArgs } from "node:util";
import { MetricsTime, Worker } from "bullmq";

const { values: options } = parseArgs({
  options: {
    port: { type: "string" },
    queue: { type: "string" },
    concurrency: { type: "string", default: "50" },
    "record-start": { type: "boolean", default: false },
  },
});

const noop = async () => null;
const recordStart = async (job) => Number(process.hrtime.bigint() - BigInt(job.data.added_ns));

const worker = new Worker(options.queue, options["record-start"] ? recordStart : noop, {
  connection: { host: "127.0.0.1", port: Number(options.port), maxRetriesPerRequest: null },
  concurrency: Number(options.concurrency),
  metrics: { maxDataPoints: MetricsTime.ONE_WEEK }, // glidemq keeps its metrics buckets by default
});
worker.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
process.once("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
await worker.waitUntilReady();
console.log("ready");
