// Devices that connect over MQTT: node -r ./preload.js connect.js NAME. Connection strings come in DEVICE.
'use strict';
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { say, goOn, attempt, happens, run } = require('./lib.js');

const device = () => Client.fromConnectionString(process.env.DEVICE, Mqtt);

run({
  async open() {
    const client = device();
    client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
    const r = await attempt(client.open());
    say(r.error ? r : { opened: true });
    if (!r.error) await client.close();
  },

  async takeover() {
    const first = device(), second = device();
    first.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
    await first.open();
    const gone = happens(first, 'disconnect');
    await second.open();
    const err = await gone;
    say({ first: err && err.transportObj ? err.transportObj.name : err && err.name });
    await second.sendEvent(new Message('second lives'));
    await second.close();
    say({ second: true });
  },

  async reconnect() {
    const client = device();
    await client.open();
    say({ opened: true });
    await goOn(); // the hub has cut the link
    await client.sendEvent(new Message('after the cut'));
    say({ sent: 1 });
    await client.close();
  },

  async cut() {
    const client = device();
    client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
    await client.open();
    const gone = happens(client, 'disconnect');
    say({ opened: true });
    await gone;
    say({ gone: true });
    say(await attempt(device().open()));
  },
});
