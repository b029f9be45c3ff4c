// Messages from devices: node -r ./preload.js telemetry.js NAME. Connection strings come in DEVICE.
'use strict';
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { say, run } = require('./lib.js');

const device = (transport) => Client.fromConnectionString(process.env.DEVICE, transport);

run({
  // messages N: what is sent can be computed again by the test.
  async messages() {
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
      m.properties.add('unit & more', '\u00b0C = 100%/+#');
      m.properties.add('empty', '');
      all.push(client.sendEvent(m));
    }
    await Promise.all(all);
    await client.close();
    say({ sent: all.length });
  },

  async http() {
    const client = device(Http);
    const m = new Message('over http');
    m.messageId = 'h1';
    m.correlationId = 'c1';
    m.contentType = 'text/plain';
    m.contentEncoding = 'utf-8';
    m.to = '/devices/http/messages/events';
    m.properties.add('Line', '3');
    m.properties.add('lineNo', '4');
    m.properties.add('empty', '');
    await client.sendEvent(m);
    say({ sent: 1 });
  },

  async batch() {
    const client = device(Http);
    const list = [0, 1, 2].map((i) => {
      const m = new Message(Buffer.from([i, 0, 255, ...Buffer.from(`part ${i} \u00fc`)]));
      m.messageId = `b${i}`;
      m.properties.add('Part', String(i));
      m.properties.add('unit & more', '\u00b0C = 100%/+#');
      return m;
    });
    await client.sendEventBatch(list);
    say({ sent: list.length });
  },
});
