// What devices and modules do with their twins: node -r ./preload.js twins.js NAME. See devices.js for what comes in the environment.
'use strict';
const { make } = require('./devices.js');
const { say, goOn, step, happens, run } = require('./lib.js');

const plain = (v) => JSON.parse(JSON.stringify(v));
const report = (twin, patch) => new Promise((done, no) => twin.properties.reported.update(patch, (err) => (err ? no(err) : done(null))));

run({
  // read says what the device sees.
  async read() {
    const client = make();
    await client.open();
    await report(await client.getTwin(), { said: { list: [1, 2.50], unit: '\u00b0C \u20ac' } });
    await step('get', client.getTwin().then((t) => t.get()).then((t) => plain(t.properties)));
    await client.close();
  },

  async report() {
    const client = make();
    await client.open();
    const twin = await client.getTwin();
    const version = async () => (await new Promise((done, no) => twin.get((err, t) => (err ? no(err) : done(t))))).properties.reported.$version;
    say({ step: 'before', body: { version: await version() } });
    await step('report', report(twin, { keep: 'x', gone: 1, deep: { a: [1, 2.50], b: { c: null } }, unit: '\u00b0C \u20ac' }));
    say({ step: 'after', body: { version: await version() } });
    await step('delete', report(twin, { gone: null, deep: { a: null }, said: null }));
    say({ step: 'after', body: { version: await version(), twin: plain(twin.properties.reported) } });
    await client.close();
  },

  // refused: each is answered with an error, and the link lives on.
  async refused() {
    const client = make();
    client.on('disconnect', () => say({ step: 'disconnected' }));
    await client.open();
    const twin = await client.getTwin();
    let deep = 1;
    for (let i = 0; i < 12; i++) deep = { a: deep };
    await step('depth', report(twin, deep));
    await step('size', report(twin, { a: Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`k${i}`, 'x'.repeat(4000)])) }));
    await step('long string', report(twin, { a: 'x'.repeat(4097) }));
    await step('key with a dot', report(twin, { 'a.b': 1 }));
    await step('key with a dollar', report(twin, { a: { $b: 1 } }));
    await step('no object', report(twin, 'text'));
    await step('number', report(twin, { a: 2 ** 53 }));
    await step('good', report(twin, { good: true }));
    await client.close();
  },

  // desired says what comes, in the order in which it does.
  async desired() {
    const client = make();
    await client.open();
    const twin = await client.getTwin();
    say({ step: 'opened', body: plain(twin.properties.desired) });
    await goOn(); // the service has changed something, and nobody listens
    let heard = 0;
    twin.on('properties.desired', (delta) => say({ step: 'desired', body: { delta: plain(delta), twin: plain(twin.properties.desired) } }));
    twin.on('properties.desired.only', (value) => { heard++; if (value === 'end') twin.emit('ended'); });
    const ended = happens(twin, 'ended');
    await report(twin, { listens: true }); // which is answered after the subscription is
    say({ step: 'subscribed' });
    await ended;
    say({ step: 'ended', body: heard });
    await client.close();
  },
});
