// Cloud-to-device messages over HTTPS: node -r ./preload.js commands.js NAME. The connection string of a device comes in DEVICE.
'use strict';
const { Client } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { say, run } = require('./lib.js');

run({
  // settle does with each message what its body says.
  async settle() {
    const client = Client.fromConnectionString(process.env.DEVICE, Http);
    const settled = {};
    await new Promise((done) => client.on('message', async (m) => {
      const body = m.getData().toString();
      say({
        body, messageId: m.messageId, correlationId: m.correlationId, to: m.to, expiry: m.expiryTimeUtc, lock: m.lockToken,
        properties: Object.fromEntries(m.properties.propertyList.map((p) => [p.key, p.value])),
      });
      await client[body === 'end' ? 'complete' : body](m).catch((err) => say({ error: err.name, message: err.message }));
      settled[body] = (settled[body] || 0) + 1;
      if (settled.end && settled.abandon === Number(process.env.TIMES)) done(); // the SDK asks for messages while it still settles others
    }));
    say({ done: true });
  },
});
