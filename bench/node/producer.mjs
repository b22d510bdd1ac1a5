// A BullMQ producer: the Node.js side of the throughput and idle-latency benchmarks.
//
//   node producer.mjs --port 6379 --queue NAME --jobs N --payload-bytes 100          adds N jobs at once, in bulk
//   node producer.mjs --port 6379 --queue NAME --jobs N --every-ms 50                 adds one, waits, adds the next
//
// The paced jobs carry `added_ns`, read from the machine's monotonic clock just before the call.

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Queue } from "bullmq";

const BULK = 1000;

const { values: options } = parseArgs({
  options: {
    port: { type: "string" },
    queue: { type: "string" },
    jobs: { type: "string" },
    "payload-bytes": { type: "string", default: "100" },
    "every-ms": { type: "string" },
  },
});

const queue = new Queue(options.queue, { connection: { host: "127.0.0.1", port: Number(options.port) } });
await queue.waitUntilReady();

let left = Number(options.jobs);
if (options["every-ms"] === undefined) {
  const envelope = '{"x":""}'.length;
  const data = { x: "x".repeat(Number(options["payload-bytes"]) - envelope) };
  for (; left > 0; left -= BULK) {
    await queue.addBulk(Array.from({ length: Math.min(BULK, left) }, () => ({ name: "noop", data })));
  }
} else {
  for (; left > 0; left -= 1) {
    await sleep(Number(options["every-ms"]));
    await queue.add("noop", { added_ns: String(process.hrtime.bigint()) });
  }
}
await queue.close();
