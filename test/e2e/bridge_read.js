// Reads an event hub from its beginning with the unmodified SDK until standard input ends: node bridge_read.js CONNECTION_STRING_FILE HUB GROUP
// One JSON line for each event, with everything the SDK shows of it.
'use strict';
const fs = require('fs');
const { EventHubConsumerClient, earliestEventPosition } = require('@azure/event-hubs');

const [connectionFile, hub, group] = process.argv.slice(2);
const client = new EventHubConsumerClient(group, fs.readFileSync(connectionFile, 'utf8').trim(), hub, { retryOptions: { maxRetries: 100, retryDelayInMs: 100, maxRetryDelayInMs: 500, timeoutInMs: 10000 } });
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
const text = (b) => (typeof b === 'object' && !Buffer.isBuffer(b) ? b : Buffer.from(b).toString());
client.subscribe({
  processEvents: async (events, context) => {
    for (const e of events) {
      const all = JSON.stringify(e.getRawAmqpMessage ? e.getRawAmqpMessage() : e);
      say({ partition: context.partitionId, sequence: e.sequenceNumber, key: e.partitionKey, body: text(e.body), properties: e.properties, system: e.systemProperties, all });
    }
  },
  processError: async (err) => { say({ error: err.name, message: String(err.message) }); },
}, { startPosition: earliestEventPosition, maxBatchSize: 500, maxWaitTimeInSeconds: 1 });
say({ reading: true });
process.stdin.on('end', () => { client.close().then(() => process.exit(0), () => process.exit(0)); setTimeout(() => process.exit(0), 3000); });
process.stdin.resume();
