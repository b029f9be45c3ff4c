// How a back end with a service connection string of an IoT hub finds the endpoint of its events: it attaches to messages/events at the hub
// itself, as SASL PLAIN with a token for a password, and is told to go elsewhere (IoT Hub: AMQP, service client). node redirect.js HOST PORT
// POLICY KEY prints the connection string for Event Hubs that follows from it.
'use strict';
const crypto = require('crypto');
const { Connection } = require('rhea-promise');

const [, , host, port, policy, key] = process.argv;

const token = (resource) => {
  const expiry = Math.ceil(Date.now() / 1000) + 300;
  const sr = encodeURIComponent(resource);
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=${policy}`;
};

const find = async () => {
  const connection = new Connection({
    transport: 'tls', host: process.env.DIAL || host, hostname: host, servername: host, port: Number(port), reconnect: false,
    username: `${policy}@sas.root.${host.split('.')[0]}`, password: token(`${host}/messages/events`),
  });
  await connection.open();
  try {
    const refused = new Promise((done, fail) => {
      connection.createReceiver({
        source: { address: `amqps://${host}/messages/events/$management` }, credit_window: 0, onError: (context) => done(context.receiver.error),
      }).catch(fail);
    });
    const { condition, info } = await refused;
    if (condition !== 'amqp:link:redirect') throw new Error(`no redirect: ${condition}`);
    const entity = /:\d+\/(.*)\/\$management/.exec(info.address)[1];
    return { hostname: info.hostname, networkHost: info['network-host'], port: info.port, address: info.address, entity };
  } finally {
    await connection.close();
  }
};

find().then((found) => { console.log(JSON.stringify(found)); process.exit(0); }, (err) => { console.log(JSON.stringify({ error: String(err.message || err.condition || err) })); process.exit(1); });
