// What services do with twins and queries: node -r ./preload.js service.js NAME. The connection string of a policy comes in SERVICE,
// that of a device in DEVICE.
'use strict';
const { Registry, DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { IoTHubRegistryManager } = require('azure-iothub/dist/cl/iothub_registry_manager');
const device = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { say, step, run } = require('./lib.js');

const registry = Registry.fromConnectionString(process.env.SERVICE);
const credentials = new IoTHubTokenCredentials(process.env.SERVICE);
// plain leaves out what a Twin object of the SDK has beside the twin.
const plain = (r) => { const t = JSON.parse(JSON.stringify(r.responseBody)); delete t._registry; return t; };
const text = (v) => JSON.parse(JSON.stringify(v));

run({
  async twins() {
    const twin = (promise) => promise.then(plain);
    const first = await step('get', twin(registry.getTwin('d')));
    await step('merge', twin(registry.updateTwin('d', { tags: { site: { hall: 1, line: 2 } }, properties: { desired: { a: 1, list: [1, 2], deep: { b: 'x' } } } }, first.etag)));
    await step('stale', registry.updateTwin('d', { tags: { site: null } }, first.etag));
    const merged = await step('merge again', twin(registry.updateTwin('d', { tags: { site: { hall: null } }, properties: { desired: { a: null, list: [3] } } }, '*')));
    await step('a key with a dot', registry.updateTwin('d', { tags: { 'a.b': 1 } }, '*'));
    const manager = new IoTHubRegistryManager(credentials);
    await step('replace', manager.replaceTwin('d', { tags: { only: true }, properties: { desired: { new: 1 } } }).then(text));
    await step('get nobody', registry.getTwin('nobody'));
    await step('module', twin(registry.updateModuleTwin('d', 'm', { properties: { desired: { module: 1 } } }, '*')));
    await step('get', twin(registry.getTwin('d')));
    await step('get module', twin(registry.getModuleTwin('d', 'm')));
    await step('get no module', registry.getModuleTwin('d', 'nobody'));
    say({ etags: [first.etag, merged.etag] });
  },

  async queries() {
    const pages = async (name, sql, size, next) => {
      const query = registry.createQuery(sql, size);
      const sizes = [], all = [];
      while (query.hasMoreResults) {
        // next() alone begins again at the first page.
        const { result } = await query[next || 'next'](query.continuationToken);
        sizes.push(result.length);
        all.push(...result.map((t) => (next ? t.deviceId : t)));
      }
      say({ step: name, sizes: sizes.join(), body: all });
    };
    await pages('all', 'SELECT * FROM devices', 10, 'nextAsTwin');
    await pages('projection', "SELECT deviceId, tags.line AS line FROM devices WHERE tags.line = 3 AND is_defined(properties.desired.n)", 2);
    await pages('count', 'SELECT COUNT() AS n FROM devices WHERE NOT (tags.line IN [1, 2])');
    await pages('group', 'SELECT tags.line AS line, COUNT() AS n FROM devices GROUP BY tags.line');
    await pages('modules', "SELECT deviceId, moduleId FROM devices.modules WHERE moduleId = 'm'");
    await step('nonsense', registry.createQuery('SELECT WHERE').next());
  },

  async digital() {
    const twins = new DigitalTwinClient(credentials);
    const read = (p) => p.then(({ _response, ...twin }) => ({ twin: text(twin), etag: _response.headers.get('etag') }));
    await step('get', read(twins.getDigitalTwin('d')));
    await step('patch', twins.updateDigitalTwin('d', [{ op: 'add', path: '/interval', value: 7 }, { op: 'add', path: '/thermostat1/target', value: 21.5 }]).then((r) => r || null));
    await step('get', read(twins.getDigitalTwin('d')));
    await step('stale', twins.updateDigitalTwin('d', [{ op: 'remove', path: '/interval' }], '"stale"'));
    const client = device.Client.fromConnectionString(process.env.DEVICE, Mqtt);
    await client.open();
    client.onDeviceMethod('thermostat1*report', (request, response) => response.send(200, { since: request.payload }));
    await step('command', twins.invokeComponentCommand('d', 'thermostat1', 'report', '2026-01-01', { connectTimeoutInSeconds: 10 }).then(({ body, xMsCommandStatuscode }) => ({ body, status: xMsCommandStatuscode })));
    await client.close();
  },

  async manager() {
    const manager = new IoTHubRegistryManager(credentials);
    await step('create', manager.createDeviceWithSas('made', '', '', true).then(text));
    await step('module', manager.createModuleWithSas('made', 'm', 'me', '', '').then(text));
    await step('devices', manager.getDevices(10).then(text));
    await step('statistics', manager.getServiceStatistics().then(text));
  },
});
