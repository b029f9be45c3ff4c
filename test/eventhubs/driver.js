// @azure/event-hubs under the test's hand: node driver.js. Every line on standard input is a request {"id", "do", ...} and every line on
// standard output the answer to one, {"id", ...} or {"id", "error"}; requests run beside each other. driver/ is the same for the Go SDK.
'use strict';
const readline = require('readline');
const { EventHubProducerClient, EventHubConsumerClient, EventHubBufferedProducerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');
const { BlobCheckpointStore } = require('@azure/eventhubs-checkpointstore-blob');
const { ContainerClient } = require('@azure/storage-blob');
const WebSocket = require('ws');
const { plain, typed, each } = require('./values.js');

const clients = {}; // by the names that the test gives
const readers = {};

// failure is an error as the test sees it; of one that retries add up to, the last.
const failure = (err) => (err.errors && err.errors.length ? failure(err.errors[err.errors.length - 1]) : { name: err.name, code: err.code === undefined ? '' : String(err.code), message: String(err.message), retryable: Boolean(err.retryable), info: err.info });

// options are what the constructors of all clients take.
const options = (q) => ({
  customEndpointAddress: q.endpoint && `sb://${q.endpoint}`,
  webSocketOptions: q.webSocket ? { webSocket: WebSocket } : undefined,
  identifier: q.identifier,
  retryOptions: { maxRetries: q.retries || 0, retryDelayInMs: q.retryDelay || 100, timeoutInMs: q.timeout || 60000 },
});

// given is what a client is made of: a connection string, or the namespace, the event hub and a token that comes from elsewhere.
const given = (q) => (q.token
  ? [q.namespace, q.hub, { getToken: async () => ({ token: q.token, expiresOnTimestamp: Date.now() + (q.tokenFor || 3600000) }) }]
  : [q.connection, ...(q.hub ? [q.hub] : [])]);

const make = {
  producer: (q) => new EventHubProducerClient(...given(q), options(q)),
  consumer: (q) => new EventHubConsumerClient(q.group || '$Default', ...given(q), options(q)),
  buffered: (q) => {
    const told = { sent: 0, errors: [] };
    const client = new EventHubBufferedProducerClient(...given(q), {
      ...options(q),
      enableIdempotentRetries: Boolean(q.idempotent),
      maxWaitTimeInMs: q.maxWait || 100,
      onSendEventsSuccessHandler: (c) => { told.sent += c.events.length; },
      onSendEventsErrorHandler: (c) => told.errors.push(failure(c.error)),
    });
    return Object.assign(client, { told });
  },
  // A processor is a consumer with a checkpoint store. It claims when it reads without a partition.
  processor: (q) => {
    const store = new BlobCheckpointStore(new ContainerClient(q.container));
    return new EventHubConsumerClient(q.group || '$Default', ...given(q), store, {
      ...options(q),
      loadBalancingOptions: { strategy: q.strategy || 'greedy', updateIntervalInMs: q.update || 500, partitionOwnershipExpirationIntervalInMs: q.expiration || 5000 },
    });
  },
};

// message is an event as the SDK takes it: {"body": text}, or {"message": {...}} with every part of an AMQP message.
const message = (e) => {
  if (!e.message) return { body: Buffer.from(e.body) };
  const m = e.message;
  const kind = ['data', 'value', 'sequence'].find((k) => k in m);
  const body = kind === 'sequence' ? m.sequence.map(plain) : plain(m[kind]);
  return { body, bodyType: kind, properties: each(m.properties, plain), applicationProperties: each(m.application, plain), messageAnnotations: m.annotations && each(m.annotations, plain) };
};

// arrived is an event as the test sees it.
const arrived = (e, context) => {
  const raw = e.getRawAmqpMessage();
  const last = context && context.lastEnqueuedEventProperties;
  return {
    partition: context && context.partitionId,
    sequence: e.sequenceNumber,
    offset: e.offset,
    offsetType: typeof e.offset,
    time: e.enqueuedTimeUtc && e.enqueuedTimeUtc.getTime(),
    key: e.partitionKey,
    body: typeof e.body === 'string' ? e.body : Buffer.isBuffer(e.body) ? e.body.toString() : undefined,
    length: e.body && e.body.length,
    kind: raw.bodyType,
    value: typed(e.body),
    properties: each(raw.properties, typed),
    application: each(e.properties, typed),
    system: each(e.systemProperties, typed),
    annotations: each(raw.messageAnnotations, typed),
    last: last && last.sequenceNumber !== undefined ? { sequence: last.sequenceNumber, offset: last.offset, time: +last.enqueuedOn, retrieved: +last.retrievedOn } : undefined,
  };
};

const position = (p) => {
  if (!p) return undefined;
  if (p.earliest) return earliestEventPosition;
  if (p.latest) return latestEventPosition;
  return { offset: p.offset, sequenceNumber: p.sequence, enqueuedOn: p.time, isInclusive: Boolean(p.inclusive) };
};

// read starts a reader, which keeps what comes until the test asks for it.
const read = (q) => {
  const r = { events: [], errors: [], claimed: {}, closed: [], wake: () => {}, brief: q.brief };
  const more = () => r.wake();
  r.subscription = clients[q.client].subscribe(...(q.partition === undefined ? [] : [q.partition]), {
    processInitialize: async (c) => { r.claimed[c.partitionId] = true; more(); },
    processClose: async (reason, c) => { delete r.claimed[c.partitionId]; r.closed.push(reason); more(); },
    processEvents: async (events, c) => {
      for (const e of events) r.events.push(q.brief ? { partition: c.partitionId, sequence: e.sequenceNumber, body: String(e.body).slice(0, 64), length: e.body.length } : arrived(e, c));
      if (q.checkpoint && events.length) await c.updateCheckpoint(events[events.length - 1]);
      more();
    },
    processError: async (err) => { r.errors.push(failure(err)); more(); },
  }, {
    startPosition: position(q.position), ownerLevel: q.epoch, trackLastEnqueuedEventProperties: Boolean(q.metric), skipParsingBodyAsJson: true,
    maxBatchSize: q.batch || 100, maxWaitTimeInSeconds: q.maxWait || 1, prefetchCount: q.prefetch,
  });
  readers[q.reader] = r;
  return {};
};

// until waits for a condition of a reader, or until there is nothing to wait for.
const until = async (r, ms, holds) => {
  const end = Date.now() + ms;
  while (!holds() && Date.now() < end) {
    await new Promise((done) => {
      const late = setTimeout(done, end - Date.now());
      r.wake = () => { clearTimeout(late); done(); };
    });
  }
};

const does = {
  open: async (q) => { clients[q.client] = make[q.kind](q); return { identifier: clients[q.client].identifier }; },
  close: async (q) => { await clients[q.client].close(q.discard ? { flush: false } : undefined); return {}; },
  hub: async (q) => {
    const p = await clients[q.client].getEventHubProperties();
    return { name: p.name, created: p.createdOn.getTime(), partitions: p.partitionIds };
  },
  partition: async (q) => {
    const p = await clients[q.client].getPartitionProperties(q.partition);
    return {
      hub: p.eventHubName, partition: p.partitionId, first: p.beginningSequenceNumber, last: p.lastEnqueuedSequenceNumber, offset: String(p.lastEnqueuedOffset), offsetType: typeof p.lastEnqueuedOffset,
      time: p.lastEnqueuedOnUtc.getTime(), empty: p.isEmpty,
    };
  },
  // send sends the events as one batch: one that knows its size, or, with "unchecked", an array, whose size the SDK does not look at.
  send: async (q) => {
    const to = { partitionId: q.partition, partitionKey: q.key };
    const events = q.events.map(message);
    if (q.unchecked) { await clients[q.client].sendBatch(events, to); return {}; }
    const batch = await clients[q.client].createBatch(to);
    const kept = events.filter((e) => batch.tryAdd(e)).length;
    await clients[q.client].sendBatch(batch);
    return { kept, maxBytes: batch.maxSizeInBytes };
  },
  // pour sends count events of size bytes, each on its own and some at once, and tells how many were acknowledged.
  pour: async (q) => {
    let next = 0, acknowledged = 0;
    const one = async () => {
      while (next < q.count) {
        const n = next++;
        await clients[q.client].sendBatch([{ body: Buffer.from(`${q.prefix || ''}${n}`.padEnd(q.size || 0)) }], { partitionId: q.partition, partitionKey: q.key });
        acknowledged++;
      }
    };
    const begun = Date.now();
    await Promise.all(Array.from({ length: q.atOnce || 10 }, one));
    return { acknowledged, took: Date.now() - begun };
  },
  // load sends one event after the other, numbered, until it is told to stop with "rest", and tells which were acknowledged. What fails is sent again.
  load: async (q) => {
    const l = clients[q.client].load = { acknowledged: [], failures: 0, stop: false };
    l.ended = (async () => {
      for (let n = 0; !l.stop; ) {
        try { await clients[q.client].sendBatch([{ body: Buffer.from(`${q.prefix}${n}`) }], { partitionId: q.partition }); l.acknowledged.push(n++); } catch { l.failures++; await new Promise((done) => setTimeout(done, 50)); }
      }
    })();
    return {};
  },
  loaded: async (q) => ({ count: clients[q.client].load.acknowledged.length }),
  rest: async (q) => {
    const l = clients[q.client].load;
    l.stop = true;
    await l.ended;
    return { count: l.acknowledged.length, failures: l.failures };
  },
  enqueue: async (q) => {
    await clients[q.client].enqueueEvents(q.events.map(message), { partitionId: q.partition, partitionKey: q.key });
    return {};
  },
  flush: async (q) => {
    await clients[q.client].flush();
    const { sent, errors } = clients[q.client].told;
    return { sent, errors };
  },
  read: async (q) => read(q),
  // receive returns the events that a reader has got, once there are count of them, or an error, or wait milliseconds are over.
  receive: async (q) => {
    const r = readers[q.reader];
    await until(r, q.wait || 20000, () => r.events.length >= q.count || r.errors.length > 0);
    return { events: r.events.splice(0, q.count), errors: r.errors.splice(0), closed: r.closed };
  },
  // claimed tells which partitions a processor has, once they are as many as the test wants.
  claimed: async (q) => {
    const r = readers[q.reader];
    await until(r, q.wait || 20000, () => Object.keys(r.claimed).length === q.count);
    return { partitions: Object.keys(r.claimed).sort() };
  },
  stop: async (q) => { await readers[q.reader].subscription.close(); return {}; },
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const q = JSON.parse(line);
  let answer;
  try { answer = await does[q.do](q); } catch (err) { answer = { error: failure(err) }; }
  process.stdout.write(JSON.stringify({ id: q.id, ...answer }) + '\n');
}).on('close', () => process.exit(0));
