// Tokens that end, and are renewed: node -r ./preload.js tokens.js NAME. See devices.js for what comes in the environment.
'use strict';
const { make, fromToken } = require('./devices.js');
const { say, goOn, step, happens, run } = require('./lib.js');

run({
  // renew: after the first message the SDK makes a new token each second, and connects anew with it, while others come. (Were it to do so
  // while it subscribes, it would forget that.)
  async renew() {
    const client = make();
    client.on('disconnect', (err) => say({ step: 'disconnected', message: err && err.message }));
    const all = new Promise((done) => client.on('message', (m) => {
      const body = m.getData().toString();
      say({ body });
      client.complete(m);
      if (body === 'first') client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 11, tokenRenewalMarginInSeconds: 10 } });
      if (body === 'end') done();
    }));
    await client.open();
    say({ step: 'opened' });
    await all;
    await client.close();
    say({ step: 'closed' });
  },

  // renewEachSecond has tokens for five seconds from the beginning.
  async renewEachSecond() {
    const client = make();
    let tokens = 0;
    client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 5, tokenRenewalMarginInSeconds: 4 } });
    client.on('disconnect', (err) => say({ step: 'disconnected', message: err && err.message }));
    client._transport._authenticationProvider.on('newTokenAvailable', () => { tokens++; });
    const all = new Promise((done) => client.on('message', (m) => {
      const body = m.getData().toString();
      say({ body });
      client.complete(m);
      if (body === 'end') done();
    }));
    await client.open();
    say({ step: 'opened' });
    await all;
    await client.close();
    say({ step: 'closed', tokens });
  },

  // end: the hub ends the connection with the token, and takes the device back with another.
  async end() {
    say({ ready: true });
    const client = fromToken(await goOn());
    const gone = happens(client, 'disconnect');
    await step('open', client.open().then(() => null));
    client.on('message', (m) => { say({ body: m.getData().toString() }); client.complete(m); });
    await gone;
    say({ step: 'gone' });
    await step('open with what has ended', client.open().then(() => null));
    await client.updateSharedAccessSignature(await goOn());
    client.on('message', () => {}); // so that the SDK subscribes again
    await step('open with another', client.open().then(() => null));
    await goOn();
    await client.close();
  },
});
