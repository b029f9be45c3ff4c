// How devices connect: node -r ./preload.js connect.js NAME. See devices.js for what comes in the environment.
'use strict';
const { Client, Message } = require('azure-iot-device');
const { transport, make, prove, fromToken } = require('./devices.js');
const { say, goOn, step, attempt, happens, run } = require('./lib.js');

run({
  // speak is a device, or a module, that connects, says something, and goes.
  async speak() {
    const client = make();
    await step('open', client.open().then(() => null));
    await goOn();
    await step('send', client.sendEvent(new Message('as it is')).then(() => null));
    await goOn();
    if (process.env.MODULE) await step('output', client.sendOutputEvent('alarm', new Message('by an output')).then(() => null));
    await step('close', client.close().then(() => null));
    await goOn();
  },

  // attempts are a connection string, or a token, and perhaps a certificate, each; whoever gets in says so.
  async attempts() {
    for (const { name, device, token, cert, key } of JSON.parse(process.env.ATTEMPTS)) {
      const client = token ? fromToken(token) : make(device);
      if (cert) prove(client, cert, key);
      await step(name, client.open().then(() => client.sendEvent(new Message(name))).then(() => null));
      await client.close().catch(() => {});
    }
  },

  // takeover: the one that was there does not try again.
  async takeover() {
    const first = make(), second = make();
    await first.open();
    await first.sendEvent(new Message('first lives'));
    const gone = happens(first, 'disconnect');
    await second.open();
    await second.sendEvent(new Message('second lives'));
    const err = await gone;
    say({ first: err && err.transportObj ? err.transportObj.name : err && err.name });
    await second.close();
    say({ second: true });
  },

  // back: it does, because it listens for something. Over AMQP its program has to: the SDK does not try again what was stolen.
  async back() {
    const first = Client.fromConnectionString(process.env.DEVICE, transport), second = make();
    first.on('message', () => {});
    await first.open();
    const gone = happens(second, 'disconnect'), away = happens(first, 'disconnect');
    await second.open();
    await second.sendEvent(new Message('second comes')); // without a link it is not there yet, over AMQP
    if (transport.name.startsWith('Amqp')) await away.then(() => first.open());
    else await gone;
    await first.sendEvent(new Message('first is back'));
    await gone;
    await first.close();
    say({ first: true });
  },

  async reconnect() {
    const client = Client.fromConnectionString(process.env.DEVICE, transport);
    await client.open();
    await client.sendEvent(new Message('before the cut'));
    say({ opened: true });
    await goOn(); // the hub has cut the link
    await client.sendEvent(new Message('after the cut'));
    say({ sent: 1 });
    await client.close();
  },

  async cut() {
    const client = make();
    await client.open();
    await client.sendEvent(new Message('I am here'));
    const gone = happens(client, 'disconnect');
    say({ opened: true });
    await gone;
    say({ gone: true });
    const again = make();
    say(await attempt(again.open().then(() => again.sendEvent(new Message('again')))));
  },
});
