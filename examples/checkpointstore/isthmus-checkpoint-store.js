'use strict';
// A checkpoint store for the processors of @azure/event-hubs that keeps checkpoints and ownerships in the namespace itself: no blob storage.
// Copy the file; it needs Node.js 18 and nothing else.
//
//   const store = new IsthmusCheckpointStore(process.env.EVENTHUB_CONNECTION_STRING);
//   const client = new EventHubConsumerClient('$Default', process.env.EVENTHUB_CONNECTION_STRING, 'telemetry', store);
//   client.subscribe({ processEvents: async (events, context) => { ...; await context.updateCheckpoint(events[events.length - 1]); }, ... });
//
// The policy needs Listen. A private authority is trusted by NODE_EXTRA_CA_CERTS. Another address than https://{namespace} is given as
// { url: 'https://127.0.0.3:8443' }.

const { createHmac } = require('node:crypto');

const TOKEN_SECONDS = 3600;

class IsthmusCheckpointStore {
  constructor(connectionString, options = {}) {
    const part = (name) => (new RegExp(`(?:^|;)\\s*${name}=([^;]+)`, 'i').exec(connectionString) || [])[1];
    this.host = new URL(part('Endpoint').replace(/^sb:/i, 'https:')).hostname;
    this.policy = part('SharedAccessKeyName');
    this.key = part('SharedAccessKey');
    this.url = (options.url || `https://${this.host}`).replace(/\/$/, '');
  }

  async listOwnership(fullyQualifiedNamespace, eventHubName, consumerGroup) {
    const place = { fullyQualifiedNamespace, eventHubName, consumerGroup };
    const list = await this.#ask('GET', eventHubName, consumerGroup, 'ownerships');
    return list.map((o) => ownership(place, o));
  }

  // Resolves to those that were claimed: who lost the race to another processor is left out.
  async claimOwnership(wanted) {
    const claimed = await Promise.all(wanted.map(async (w) => {
      const o = await this.#ask('PUT', w.eventHubName, w.consumerGroup, `ownerships/${w.partitionId}`, { owner: w.ownerId }, w.etag);
      return o && ownership(w, o);
    }));
    return claimed.filter(Boolean);
  }

  async listCheckpoints(fullyQualifiedNamespace, eventHubName, consumerGroup) {
    const list = await this.#ask('GET', eventHubName, consumerGroup, 'checkpoints');
    return list.map((c) => ({
      fullyQualifiedNamespace, eventHubName, consumerGroup, partitionId: String(c.partition), sequenceNumber: c.sequenceNumber, offset: c.offset,
    }));
  }

  async updateCheckpoint(c) {
    await this.#ask('PUT', c.eventHubName, c.consumerGroup, `checkpoints/${c.partitionId}`, { sequenceNumber: c.sequenceNumber, offset: String(c.offset) });
  }

  // #ask makes a request. It resolves to undefined when somebody was quicker.
  async #ask(method, eventHub, group, what, body, etag) {
    const path = `/isthmus/v1/eventhubs/${encodeURIComponent(eventHub)}/consumergroups/${encodeURIComponent(group)}/${what}`;
    const headers = { Authorization: this.#token(eventHub), 'Content-Type': 'application/json' };
    if (etag) headers['If-Match'] = etag;
    const r = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    if (r.status === 412) return undefined;
    const answer = await r.json();
    if (r.ok) return answer;
    const error = new Error(`${method} ${path}: ${answer.message}`);
    error.retryable = r.status >= 500;
    throw error;
  }

  // #token signs for one event hub, so that a policy of that one is enough. The key is the bytes of its text.
  #token(eventHub) {
    const resource = encodeURIComponent(`sb://${this.host}/${eventHub}`);
    const expires = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
    const signature = createHmac('sha256', this.key).update(`${resource}\n${expires}`).digest('base64');
    return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expires}&skn=${encodeURIComponent(this.policy)}`;
  }
}

function ownership({ fullyQualifiedNamespace, eventHubName, consumerGroup }, o) {
  return {
    fullyQualifiedNamespace, eventHubName, consumerGroup, partitionId: String(o.partition), ownerId: o.owner, etag: o.etag, lastModifiedTimeInMs: Date.parse(o.modified),
  };
}

module.exports = { IsthmusCheckpointStore };
