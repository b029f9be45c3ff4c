// Messages from devices: node -r ./preload.js telemetry.js NAME. The connection string of a device comes in DEVICE.
'use strict';
const { Client, Message } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { make } = require('./devices.js');
const { say, step, run } = require('./lib.js');

const amqp = (process.env.TRANSPORT || '').startsWith('amqp');

// device is one over HTTPS.
const device = () => Client.fromConnectionString(process.env.DEVICE, Http);

run({
  // send: what is sent can be computed again by the test.
  async send() {
    const client = make();
    await client.open();
    const all = [];
    for (let i = 0; i < 100; i++) {
      const m = new Message(Buffer.from([i, 0, 255, ...Buffer.from(`body ${i} \u00fc\n`)]));
      m.messageId = `id/${i}`;
      m.correlationId = `corr ${i}`;
      m.contentType = 'application/json;x=1';
      m.contentEncoding = 'utf-8';
      m.to = `/devices/somewhere/${i}`;
      m.expiryTimeUtc = amqp ? Date.UTC(2030, 0, 1) : '2030-01-01T00:00:00Z'; // that is what rhea takes
      m.properties.add('number', String(i));
      m.properties.add('unit & more', '\u00b0C = 100%/+#\u20ac');
      m.properties.add('empty', '');
      m.properties.add('null', null); // the SDK makes a word of it
      all.push(client.sendEvent(m));
    }
    await Promise.all(all);
    await client.close();
    say({ sent: all.length });
  },

  async http() {
    const m = new Message(Buffer.from([0, 255, ...Buffer.from('over http \u20ac')]));
    m.messageId = 'h1';
    m.correlationId = 'c1';
    m.contentType = 'text/plain';
    m.contentEncoding = 'utf-8';
    m.to = '/devices/http/messages/events';
    m.expiryTimeUtc = '2030-01-01T00:00:00Z';
    m.properties.add('Line', '3');
    m.properties.add('lineNo', '4');
    m.properties.add('empty', '');
    m.properties.add('unit', '\u00b0C'); // the SDK cannot put more than ISO 8859-1 into a header
    await device().sendEvent(m);
    say({ sent: 1 });
  },

  async batch() {
    const list = [0, 1, 2].map((i) => {
      const m = new Message(`part ${i} \u20ac`);
      m.properties.add('Part', String(i));
      m.properties.add('unit & more', '\u00b0C = 100%/+#\u20ac');
      return m;
    });
    await device().sendEventBatch(list);
    say({ sent: list.length });
  },

  // throttled says two things when it may say one.
  async throttled() {
    const client = make();
    await client.open();
    await step('first', client.sendEvent(new Message('1')).then(() => null));
    await step('second', client.sendEvent(new Message('2')).then(() => null));
    await client.close();
  },

  async large() {
    const client = make();
    await client.open();
    const m = new Message(Buffer.alloc(256 * 1024 - 100));
    await step('largest', client.sendEvent(m).then(() => null));
    m.properties.add('more', 'x'.repeat(200));
    await step('too large', client.sendEvent(m).then(() => null));
    process.exit(0);
  },
});
