// The identity registry: node -r ./preload.js registry.js NAME. Connection strings come in SERVICE.
'use strict';
const { Registry } = require('azure-iothub');
const { step, run } = require('./lib.js');

const registry = () => Registry.fromConnectionString(process.env.SERVICE);

run({
  async devices() {
    const registry = Registry.fromConnectionString(process.env.SERVICE);
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
});
