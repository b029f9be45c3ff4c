// Many devices at a time: node -r ./preload.js jobs.js NAME. The connection string of a policy comes in SERVICE, that of a device in DEVICE.
'use strict';
const { Registry, JobClient } = require('azure-iothub');
const device = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { step, run } = require('./lib.js');

const registry = Registry.fromConnectionString(process.env.SERVICE);
const jobs = JobClient.fromConnectionString(process.env.SERVICE);
// The SDK's promises of jobs are {jobStatus, response}.
const job = (promise) => promise.then((r) => r.jobStatus);
// until asks again, ten times a second, until it is told what it waits for; the test ends the process should that never come.
const until = async (ask, good) => {
  for (;;) {
    const v = await ask();
    if (good(v)) return v;
    await new Promise((done) => setTimeout(done, 100));
  }
};
const over = (id) => until(() => job(jobs.getJob(id)), (j) => ['completed', 'failed', 'cancelled'].includes(j.status));
const all = async (query) => {
  const out = [];
  for (let more = true; more; more = query.hasMoreResults) out.push(...(await query.next(query.continuationToken)).result);
  return out;
};

run({
  async jobs() {
    await step('unknown', job(jobs.getJob('none')));
    await step('twins', job(jobs.scheduleTwinUpdate('twins', 'tags.line = 1', { etag: '*', tags: { done: true }, properties: { desired: { rate: 5 } } }, new Date(), 60)));
    await step('twins are done', over('twins'));
    await step('the same id', jobs.scheduleTwinUpdate('twins', 'tags.line = 1', { etag: '*', tags: {} }, new Date(), 60));
    await step('a twin', registry.getTwin('d1').then((r) => JSON.parse(JSON.stringify({ tags: r.responseBody.tags, properties: r.responseBody.properties }))));
    await step('another twin', registry.getTwin('d2').then((r) => ({ tags: r.responseBody.tags })));
    const client = device.Client.fromConnectionString(process.env.DEVICE, Mqtt);
    await client.open();
    await new Promise((done) => {
      client.onDeviceMethod('reboot', (request, response) => response.send(200, { got: request.payload }));
      client.getTwin(done); // answered after the subscription before it
    });
    await step('methods', job(jobs.scheduleDeviceMethod('methods', 'tags.line = 1', { methodName: 'reboot', payload: 7, responseTimeoutInSeconds: 10 }, new Date(), 60)));
    await step('methods are done', over('methods'));
    await client.close();
    await step('what became of each', all(registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'methods'")));
    await step('later', job(jobs.scheduleTwinUpdate('later', '*', { etag: '*', tags: {} }, new Date(Date.now() + 3600000), 60)));
    await step('cancel', job(jobs.cancelJob('later')));
    await step('cancelled', over('later'));
    await step('completed ones', all(jobs.createQuery(undefined, 'completed', 1)));
  },

  async configurations() {
    const conf = (more) => ({
      id: 'rates', schemaVersion: '1.0', content: { deviceContent: { 'properties.desired.rates': { fast: 5 } } }, targetCondition: 'tags.line = 1', priority: 3,
      metrics: { queries: { fast: 'SELECT deviceId FROM devices WHERE properties.desired.rates.fast = 5' } }, ...more,
    });
    await step('add', registry.addConfiguration(conf()));
    await step('add again', registry.addConfiguration(conf()));
    await step('list', registry.getConfigurations());
    await step('get nobody', registry.getConfiguration('none'));
    await step('applied', until(() => registry.getConfiguration('rates').then((r) => r.responseBody), (c) => c.systemMetrics.results.appliedCount === 2 && c.metrics.results.fast === 2));
    await step('a twin', registry.getTwin('d1').then((r) => JSON.parse(JSON.stringify(r.responseBody.properties.desired))));
    const old = (await registry.getConfiguration('rates')).responseBody;
    await step('update', registry.updateConfiguration(conf({ priority: 9, labels: { team: 'a' } }), true));
    await step('update with a stale etag', registry.updateConfiguration({ ...conf(), etag: old.etag }, false));
    await step('remove', registry.removeConfiguration('rates'));
    await step('deploy to one', registry.applyConfigurationContentOnDevice('edge', { modulesContent: { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1', modules: {} } } } })
      .then(({ httpResponse }) => ({ status: httpResponse && httpResponse.statusCode })));
    await step('the module', registry.getModuleTwin('edge', '$edgeAgent').then((r) => JSON.parse(JSON.stringify(r.responseBody.properties.desired))));
  },
});
