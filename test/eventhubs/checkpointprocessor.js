// A processor of @azure/event-hubs with the example's checkpoint store: it reads until it has seen as many events as argv says, checkpoints
// each, prints their bodies, and ends. The next one goes on behind them.
'use strict';
const { EventHubConsumerClient, earliestEventPosition } = require('@azure/event-hubs');
const { IsthmusCheckpointStore } = require('../../examples/checkpointstore/isthmus-checkpoint-store.js');

async function main() {
  const [hub, group, count] = process.argv.slice(2);
  const connection = process.env.EVENTHUB_CONNECTION_STRING;
  const store = new IsthmusCheckpointStore(connection, { url: process.env.EVENTHUB_URL });
  const client = new EventHubConsumerClient(group, connection, hub, store, { loadBalancingOptions: { strategy: 'greedy', updateIntervalInMs: 200 } });
  const seen = [];
  await new Promise((resolve, reject) => {
    client.subscribe({
      processEvents: async (events, context) => {
        for (const e of events) {
          if (seen.length === Number(count)) return;
          await context.updateCheckpoint(e);
          seen.push(String(e.body));
        }
        if (seen.length === Number(count)) resolve();
      },
      processError: async (err) => reject(err),
    }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 });
  });
  await client.close();
  console.log(seen.sort().join(' '));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
