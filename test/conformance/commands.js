// Messages from the cloud to devices and modules: node -r ./preload.js commands.js NAME. See devices.js for what comes in the environment.
'use strict';
const { make, often, properties } = require('./devices.js');
const { say, goOn, attempt, run } = require('./lib.js');

const { TRANSPORT } = process.env;
const told = (m, input) => {
  const sent = m.transportObj || {}; // over AMQP there is more than the SDK tells
  return {
    body: m.getData().toString(), input, messageId: m.messageId, correlationId: m.correlationId, userId: String(m.userId || sent.user_id || ''), to: m.to, expiry: m.expiryTimeUtc,
    type: m.contentType, encoding: m.contentEncoding, lock: m.lockToken, ack: m.ack, properties: properties(m), count: (sent.message_annotations || {})['iothub-deliverycount'],
  };
};
// each calls f with every message, until it is told that this was the last.
const each = (client, f) => new Promise((done) => {
  const take = async (m, input) => { say(told(m, input)); if (await f(m)) done(); };
  if (client.onMethod) client.on('inputMessage', (input, m) => take(m, input));
  else client.on('message', (m) => take(m));
});

run({
  // hear completes what comes, until there is a message "end".
  async hear() {
    const client = often(make());
    await client.open();
    await each(client, async (m) => { await client.complete(m); return m.getData().toString() === 'end'; });
    await client.close();
    say({ done: true });
  },

  // settle does with each message what its body says, over HTTPS; the SDK asks for messages while it still settles others.
  async settle() {
    const client = often(make());
    const settled = {};
    await each(client, async (m) => {
      const body = m.getData().toString();
      const r = await attempt(client[body === 'end' ? 'complete' : body](m));
      if (r.error) say(r);
      settled[body] = (settled[body] || 0) + 1;
      return settled.end && settled.abandon === Number(process.env.TIMES);
    });
    say({ done: true });
  },

  // settleInTurn does the same over AMQP, one after the other: what is settled at once with different outcomes, rhea tells the hub as one.
  async settleInTurn() {
    const client = make();
    await client.open();
    let before = Promise.resolve();
    await each(client, (m) => {
      const body = m.getData().toString();
      before = before.then(() => client[body === 'end' ? 'complete' : body](m)).then(() => new Promise(setImmediate));
      return before.then(() => body === 'end');
    });
    await client.close();
    say({ done: true });
  },

  // together completes what came at once: rhea says it of a range.
  async together() {
    const client = make();
    await client.open();
    const all = [];
    await each(client, async (m) => all.push(m) === Number(process.env.TIMES));
    await Promise.all(all.map((m) => client.complete(m)));
    await client.close();
    say({ done: true });
  },

  // settled: over MQTT there is no other word for a message than that it came.
  async settled() {
    const client = make();
    await client.open();
    await each(client, async (m) => {
      for (const how of ['reject', 'abandon']) {
        try { await client[how](m); say({ how }); } catch (err) { say({ how, error: err.name }); }
      }
      return true;
    });
    await client.close();
  },

  // absent is a device that listens, goes, and comes back.
  async absent() {
    const first = make();
    await first.open();
    const heard = each(first, async (m) => { await first.complete(m); return m.getData().toString() === 'first'; });
    say({ listens: true });
    await heard;
    await first.close();
    say({ gone: true });
    await goOn();
    const second = make();
    const all = each(second, async (m) => { await second.complete(m); return m.getData().toString() === 'end'; });
    await second.open();
    await all;
    await second.close();
    say({ done: true });
  },
});
