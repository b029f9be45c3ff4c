// Messages from devices: node -r ./preload.js telemetry.js NAME. The connection string of a device comes in DEVICE.
'use strict';
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { say, attempt, run } = require('./lib.js');

const device = (transport) => Client.fromConnectionString(process.env.DEVICE, transport);

run({
  // mqtt: what is sent can be computed again by the test.
  async mqtt() {
    const client = device(Mqtt);
    await client.open();
    const all = [];
    for (let i = 0; i < 100; i++) {
      const m = new Message(Buffer.from([i, 0, 255, ...Buffer.from(`body ${i} \u00fc\n`)]));
      m.messageId = `id/${i}`;
      m.correlationId = `corr ${i}`;
      m.contentType = 'application/json;x=1';
      m.contentEncoding = 'utf-8';
      m.properties.add('number', String(i));
      m.properties.add('unit & more', '\u00b0C = 100%/+#\u20ac');
      m.properties.add('empty', '');
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
    await device(Http).sendEvent(m);
    say({ sent: 1 });
  },

  async batch() {
    const list = [0, 1, 2].map((i) => {
      const m = new Message(`part ${i} \u20ac`);
      m.properties.add('Part', String(i));
      m.properties.add('unit & more', '\u00b0C = 100%/+#\u20ac');
      return m;
    });
    await device(Http).sendEventBatch(list);
    say({ sent: list.length });
  },

  async refused() {
    say({ step: 'http', ...await attempt(device(Http).sendEvent(new Message('x'))) });
  },
});
