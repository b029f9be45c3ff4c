// Methods of devices and modules: node -r ./preload.js methods.js NAME. See devices.js for what comes in the environment; the connection
// string of a policy comes in SERVICE.
'use strict';
const { Client } = require('azure-iothub');
const { make } = require('./devices.js');
const { say, step, run } = require('./lib.js');

const service = Client.fromConnectionString(process.env.SERVICE);
const { ID, MODULE_ID } = process.env;
const invoke = (methodName, more) => {
  const params = { methodName, responseTimeoutInSeconds: 5, ...more };
  return (MODULE_ID ? service.invokeDeviceMethod(ID, MODULE_ID, params) : service.invokeDeviceMethod(ID, params)).then((r) => r.result);
};
const listen = (client, name, f) => (client.onMethod || client.onDeviceMethod).call(client, name, f);

run({
  async all() {
    await step('offline', invoke('echo'));
    const client = make();
    const waiting = invoke('echo', { connectTimeoutInSeconds: 20, payload: { n: 0 } });
    await client.open();
    listen(client, 'echo', (request, response) => response.send(207, { got: request.payload, name: request.methodName, id: request.requestId.length > 0 }));
    listen(client, 'bare', (request, response) => response.send(204));
    listen(client, 'sleep', () => {});
    await step('waited for', waiting);
    const silent = invoke('sleep'); // it takes its five seconds while the others run
    silent.catch(() => {});
    await step('payload', invoke('echo', { payload: { n: [1, null, '\u20ac', 2.5] } }));
    await step('text', invoke('echo', { payload: 'text' }));
    await step('null payload', invoke('echo', { payload: null }));
    await step('no payload', invoke('echo'));
    await step('no answer but a status', invoke('bare'));
    await step('a large payload', invoke('echo', { payload: 'x'.repeat(100000) }).then((r) => ({ payload: { got: r.payload.got.length } })));
    await step('many', Promise.all(Array.from({ length: 20 }, (_, i) => invoke('echo', { payload: i }))).then((all) => all.map((r) => r.payload.got).join()));
    await step('nobody', service.invokeDeviceMethod('nobody', { methodName: 'echo' }));
    await step('silent', silent);
    await client.close();
    await step('offline again', invoke('echo'));
  },
});
