// The identity registry: node -r ./preload.js registry.js NAME. The connection string of a policy comes in SERVICE.
'use strict';
const { Registry, Client } = require('azure-iothub');
const { say, step, attempt, run } = require('./lib.js');

const registry = Registry.fromConnectionString(process.env.SERVICE);
const key = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const keys = { symmetricKey: { primaryKey: key, secondaryKey: key } };

run({
  async devices() {
    const odd = "odd'#:+(1)%2F";
    await step('create', registry.create({ deviceId: 'made-1' }));
    await step('create with keys', registry.create({ deviceId: odd, status: 'disabled', statusReason: 'spare', authentication: keys }));
    await step('create again', registry.create({ deviceId: 'made-1' }));
    await step('get', registry.get(odd));
    await step('get nobody', registry.get('nobody'));
    await step('update', registry.update({ deviceId: 'made-1', status: 'disabled', statusReason: 'in repair', authentication: keys }));
    await step('update nobody', registry.update({ deviceId: 'nobody' }));
    await step('list', registry.list());
    await step('statistics', registry.getRegistryStatistics());
    await step('delete', registry.delete('made-1'));
    await step('delete again', registry.delete('made-1'));
    const forged = process.env.SERVICE.replace(/SharedAccessKey=.*/, 'SharedAccessKey=' + key);
    await step('wrong key', Registry.fromConnectionString(forged).get(odd));
  },

  async keys() {
    await step('create', registry.create({ deviceId: 'd' }));
    await step('get', registry.get('d'));
    await step('update', registry.update({ deviceId: 'd', authentication: { type: 'sas', symmetricKey: { primaryKey: '', secondaryKey: '' } } }));
    await step('thumbprint', registry.create({ deviceId: 'self', authentication: { x509Thumbprint: { primaryThumbprint: 'ab'.repeat(20), secondaryThumbprint: 'cd'.repeat(32) } } }));
    await step('authority', registry.create({ deviceId: 'ca', authentication: { type: 'certificateAuthority' } }));
    await step('one key', registry.create({ deviceId: 'one', authentication: { symmetricKey: { primaryKey: key } } }));
    await step('short key', registry.create({ deviceId: 'one', authentication: { symmetricKey: { primaryKey: 'MDEy', secondaryKey: 'MDEy' } } }));
  },

  async bulk() {
    const many = (n, more) => Array.from({ length: n }, (_, i) => ({ deviceId: `bulk-${i}`, ...more }));
    await step('add', registry.addDevices(many(100)));
    await step('add again', registry.addDevices([{ deviceId: 'bulk-1' }, { deviceId: 'new' }]));
    await step('update', registry.updateDevices(many(50, { status: 'disabled' }), true));
    await step('update with a stale etag', registry.updateDevices([{ deviceId: 'bulk-1', etag: 'stale' }], false));
    await step('statistics', registry.getRegistryStatistics());
    await step('remove', registry.removeDevices(many(99), true));
    await step('list', registry.list());
  },

  async modules() {
    await step('no device', registry.addModule({ deviceId: 'd', moduleId: 'm' }));
    await registry.create({ deviceId: 'd' });
    await step('add', registry.addModule({ deviceId: 'd', moduleId: 'm', managedBy: 'me' }));
    await step('add again', registry.addModule({ deviceId: 'd', moduleId: 'm' }));
    await step('add a name of the runtime', registry.addModule({ deviceId: 'd', moduleId: '$edgeThing' }));
    await step('get', registry.getModule('d', 'm'));
    await step('get nobody', registry.getModule('d', 'nobody'));
    await step('list', registry.getModulesOnDevice('d'));
    await step('update', registry.updateModule({ deviceId: 'd', moduleId: 'm', managedBy: 'you', authentication: keys }, true));
    await step('update with a stale etag', registry.updateModule({ deviceId: 'd', moduleId: 'm', etag: 'stale' }, false));
    await step('twin', registry.getModuleTwin('d', 'm'));
    await step('remove', registry.removeModule('d', 'm'));
    await step('remove again', registry.removeModule('d', 'm'));
    await step('create an edge device', registry.create({ deviceId: 'edge', capabilities: { iotEdge: true } }));
    await step('modules of the edge device', registry.getModulesOnDevice('edge'));
    await step('create behind it', registry.create({ deviceId: 'leaf', deviceScope: (await registry.get('edge')).responseBody.deviceScope }));
    await step('delete the edge device', registry.delete('edge'));
    await step('modules are gone', registry.getModulesOnDevice('edge'));
  },

  // errors: every call fails, and says what IoT Hub's answer says.
  async errors() {
    const client = Client.fromConnectionString(process.env.SERVICE);
    const tell = async (name, promise) => {
      const r = await attempt(promise.catch((err) => { say({ step: name, error: err.name, message: err.message, response: err.response && {
        status: err.response.statusCode, code: err.response.headers['iothub-errorcode'], type: err.response.headers['content-type'] }, body: err.responseBody }); throw err; }));
      if (!r.error) say({ step: name, error: '' });
    };
    await tell('400', registry.create({ deviceId: 'a b' }));
    await tell('404', registry.get('nobody'));
    await tell('404 of a twin', registry.getTwin('nobody'));
    await tell('404 of a method', client.invokeDeviceMethod('d', { methodName: 'm', payload: 1, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 0 }));
    await tell('409', registry.create({ deviceId: 'd' }));
    await tell('412', registry.updateTwin('d', { tags: {} }, 'stale'));
    await tell('query', registry.createQuery('SELECT * FROM nowhere').next());
  },
});
