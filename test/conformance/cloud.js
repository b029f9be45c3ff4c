// Back ends over AMQP: node -r ./preload.js cloud.js NAME. The connection string of a policy comes in SERVICE; TRANSPORT is amqp or amqpws.
'use strict';
const { Client, Amqp, AmqpWs } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const { say, goOn, step, run } = require('./lib.js');

const transport = { amqp: Amqp, amqpws: AmqpWs }[process.env.TRANSPORT];
const make = (text = process.env.SERVICE) => Client.fromConnectionString(text, transport);

run({
  // service sends messages, and tells what it receives.
  async service() {
    const client = make();
    client.on('disconnect', () => say({ step: 'disconnected' }));
    await step('open', client.open().then(() => null));
    const receive = (name, what) => new Promise((done, no) => client[what]((err, receiver) => {
      if (err) return no(err);
      receiver.on('message', (m) => say({ [name]: JSON.parse(m.getData().toString()), type: m.contentType }));
      return done();
    }));
    await step('feedback', receive('feedback', 'getFeedbackReceiver'));
    await step('files', receive('file', 'getFileNotificationReceiver'));
    const send = (name, id, body, more) => step(name, client.send(id, Object.assign(new Message(body), more)).then(() => null));
    const m = new Message('body \u20ac \n');
    Object.assign(m, {
      messageId: '6BA7B810-9dad-11d1-80b4-00c04fd430c8'.toLowerCase(), correlationId: 'corr \u00fc', contentType: 'text/plain;x=1', contentEncoding: 'utf-8', ack: 'full',
      expiryTimeUtc: Date.now() + 3600000,
    });
    m.properties.add('unit', '\u00b0C \u20ac');
    m.properties.add('a&b', '=%/+#');
    m.properties.add('empty', '');
    await step('send', client.send(process.env.ID, m).then(() => null));
    await send('end', process.env.ID, 'end', { messageId: 'end' });
    await send('nobody', 'nobody', 'x');
    await send('too large', process.env.ID, Buffer.alloc(64 * 1024 + 1));
    await Promise.all(Array.from({ length: 50 }, (_, i) => client.send(process.env.FULL, Object.assign(new Message(`${i}`), { messageId: `${i}`, ack: 'full' }))));
    await send('one too many', process.env.FULL, 'x');
    await goOn();
    await step('close', client.close().then(() => null));
  },

  // attempts are connection strings with which somebody tries to send; whoever may says so.
  async attempts() {
    for (const { name, device } of JSON.parse(process.env.ATTEMPTS)) {
      const client = make(device);
      await step(name, client.open().then(() => client.send(process.env.ID, new Message(name))).then(() => null));
      await client.close().catch(() => {});
    }
  },
});
