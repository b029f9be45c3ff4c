// One scenario with an unmodified SDK: node -r ./preload.js sdk.js NAME. Connection strings come in DEVICE, OTHER and SERVICE. Every line
// on standard output is a JSON object; the Go test reads them and says on standard input when to go on.
'use strict';
const fs = require('fs');
const readline = require('readline');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { Registry } = require('azure-iothub');

const say = (o) => fs.writeSync(1, JSON.stringify(o) + '\n');
const failure = (err) => ({ error: err.name, message: err.message });
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const goOn = () => lines.next();
const attempt = (promise) => promise.then((value) => ({ value }), failure);
const device = (cs, transport) => Client.fromConnectionString(cs || process.env.DEVICE, transport || Mqtt);
const happens = (emitter, event) => new Promise((done) => emitter.once(event, done));

const scenarios = {
  async registry() {
    const registry = Registry.fromConnectionString(process.env.SERVICE);
    const step = async (name, promise) => {
      const r = await attempt(promise);
      say({ step: name, error: r.error, message: r.message, body: r.value && r.value.responseBody });
      return r.value && r.value.responseBody;
    };
    const odd = "odd'#:+(1)%2F";
    const key = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
    await step('create', registry.create({ deviceId: 'made-1' }));
    await step('create with keys', registry.create({ deviceId: odd, status: 'disabled', statusReason: 'spare', authentication: { symmetricKey: { primaryKey: key, secondaryKey: key } } }));
    await step('create again', registry.create({ deviceId: 'made-1' }));
    await step('get', registry.get(odd));
    await step('get nobody', registry.get('nobody'));
    await step('update', registry.update({ deviceId: 'made-1', status: 'disabled', statusReason: 'in repair', authentication: { symmetricKey: { primaryKey: key, secondaryKey: key } } }));
    await step('update nobody', registry.update({ deviceId: 'nobody' }));
    await step('add many', registry.addDevices([{ deviceId: 'bulk-1' }, { deviceId: 'bulk-2', status: 'disabled' }]));
    await step('add many again', registry.addDevices([{ deviceId: 'bulk-1' }, { deviceId: 'bulk-3' }]));
    await step('remove many', registry.removeDevices([{ deviceId: 'bulk-1' }, { deviceId: 'bulk-3' }], true));
    await step('list', registry.list());
    await step('statistics', registry.getRegistryStatistics());
    await step('delete', registry.delete('made-1'));
    await step('delete again', registry.delete('made-1'));
    const forged = process.env.SERVICE.replace(/SharedAccessKey=.*/, 'SharedAccessKey=' + key);
    await step('wrong key', Registry.fromConnectionString(forged).get('bulk-2'));
  },

  // messages N: what is sent can be computed again by the test.
  async messages() {
    const client = device();
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
    const m = new Message('over http');
    m.messageId = 'h1';
    m.properties.add('line', '3');
    const r = await attempt(device(null, Http).sendEvent(m));
    say(r.error ? r : { sent: 1 });
  },

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

  async handlers() {
    const client = device();
    await client.open();
    client.on('message', () => {});
    client.onDeviceMethod('reboot', () => {});
    const r = await attempt(client.getTwin());
    say({ twin: r.error || 'none', message: r.message });
    await client.sendEvent(new Message('still here'));
    say({ sent: 1 });
    await client.close();
  },
};

scenarios[process.argv[2]]().then(() => process.exit(0), (err) => { say({ failed: err.name, message: err.message }); process.exit(1); });
