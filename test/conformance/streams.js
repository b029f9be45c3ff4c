// Device streams: node -r ./preload.js streams.js NAME. No SDK that can be had has them, so the device is azure-iot-mqtt-base, which carries any
// topic, or azure-iot-amqp-base with TRANSPORT amqp, the service is azure-iot-http-base's RestApiClient with a connection string, and the ends of
// a stream are ws. HOST, DEVICE and TOKEN are the device's, SERVICE the connection string of who asks, GRANT that of a grant.
'use strict';
const WebSocket = require('ws');
const { MqttBase } = require('azure-iot-mqtt-base');
const { RestApiClient } = require('azure-iot-http-base');
const { ConnectionString, SharedAccessSignature, anHourFromNow } = require('azure-iot-common');
const { say, goOn, run } = require('./lib.js');

const { HOST, DEVICE, TOKEN, SERVICE, GRANT } = process.env;
const VERSIONS = ['2018-08-30-preview', '2018-10-20-preview', '2020-09-30']; // of the preview SDKs: C#, Node, the last C#
const promise = (start) => new Promise((ok, no) => start((err, value) => (err ? no(err) : ok(value))));

// overAMQP is device over AMQP, with a pair of links as the preview SDKs in C have it.
const overAMQP = async (status, then) => {
  const { Amqp } = require('azure-iot-amqp-base');
  const amqp = new Amqp(true, 'conformance');
  await promise((done) => amqp.connect({ uri: `amqps://${HOST}`, userAgentString: 'conformance' }, done));
  await promise((done) => amqp.initializeCBS(done));
  await promise((done) => amqp.putToken(`${HOST}%2Fdevices%2F${DEVICE}`, TOKEN, done));
  const properties = { 'com.microsoft:api-version': '2016-11-14', 'com.microsoft:channel-correlation-id': 'streams:6ba7b810-9dad-11d1-80b4-00c04fd430c8' };
  const options = { properties, snd_settle_mode: 1, rcv_settle_mode: 0 };
  const sender = await promise((done) => amqp.attachSenderLink(`/devices/${DEVICE}/streams`, options, done));
  const receiver = await promise((done) => amqp.attachReceiverLink(`/devices/${DEVICE}/streams`, options, done));
  receiver.on('message', ({ correlation_id, application_properties: p }) => {
    if (status) sender.send({ correlation_id, application_properties: { 'IoThub-streaming-is-accepted': status === 200 } }, () => {});
    then({ name: p['IoThub-streaming-name'], host: p['IoThub-streaming-hostname'], port: p['IoThub-streaming-port'], url: p['IoThub-streaming-url'], token: p['IoThub-streaming-auth-token'] });
  });
  return amqp;
};

// device connects and answers every request for a stream with the status, unless that is 0; it tells what it was asked.
const device = async (status, then) => {
  if (process.env.TRANSPORT === 'amqp') return overAMQP(status, then);
  const mqtt = new MqttBase();
  mqtt.on('error', () => {});
  mqtt.on('message', (topic, payload) => {
    const parts = topic.split('/');
    const query = Object.fromEntries(parts[4].slice(1).split('&').map((f) => f.split('=')));
    const asked = { levels: parts.length, name: parts[3], empty: payload.length === 0, short: query.$rid.length <= 6, url: decodeURIComponent(query.$url), token: query.$auth };
    if (status) mqtt.publish(`$iothub/streams/res/${status}/?$rid=${query.$rid}`, '', { qos: 0 }, () => {});
    then(asked);
  });
  await promise((done) => mqtt.connect({
    uri: `mqtts://${HOST}`, clientId: DEVICE, username: `${HOST}/${DEVICE}/?api-version=2021-04-12`, sharedAccessSignature: TOKEN, clean: true,
  }, done));
  await promise((done) => mqtt.subscribe('$iothub/streams/POST/#', { qos: 0 }, done));
  await promise((done) => mqtt.subscribe('$iothub/streams/res/#', { qos: 0 }, done));
  return mqtt;
};

// rest is a client of REST as the service SDK makes it of a connection string.
const rest = (connection) => {
  const { HostName, SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(connection);
  return new RestApiClient({ host: HostName, sharedAccessSignature: SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, anHourFromNow()) }, 'conformance');
};

// call makes one call and tells how it ended, by what RestApiClient hands its caller.
const call = (client, method, path, headers) => new Promise((done) => {
  client.executeApiCall(method, path, headers || {}, null, (err, body, response) => {
    const answer = err ? err.response : response;
    done({ status: answer.statusCode, error: err && err.name, headers: answer.headers, body: err ? err.responseBody : body });
  });
});

// request asks for a stream as the preview SDKs of the service do.
const request = (name, headers, version = VERSIONS[1], connection = SERVICE, to = DEVICE) => call(rest(connection), 'POST', `/twins/${to}/streams/${name}?api-version=${version}`, headers);

// answered is what is to be said of an answer without a stream.
const answered = (a) => {
  let code;
  try { code = JSON.parse(JSON.parse(a.body).Message); } catch { code = {}; }
  return { status: a.status, error: a.error, name: a.headers['iothub-errorcode'], code: code.errorCode, waited: code.info && code.info.timeout, text: String(a.body) };
};

const accepted = (a) => ({ url: a.headers['iothub-streaming-url'], token: a.headers['iothub-streaming-auth-token'], accepted: a.headers['iothub-streaming-is-accepted'] });

const open = (url, token, ...more) => new Promise((done) => {
  const ws = new WebSocket(url, ...more, { headers: { Authorization: `Bearer ${token}` } });
  ws.on('open', () => done(ws)).on('unexpected-response', (_, answer) => done(answer.statusCode)).on('error', () => {});
});
const read = (ws, bytes) => new Promise((done) => {
  let got = Buffer.alloc(0);
  ws.on('message', (b) => { got = Buffer.concat([got, b]); if (got.length >= bytes) done(got); });
});
const closed = (ws) => new Promise((done) => ws.on('close', (code, why) => done({ code, why: why.toString() })));

// once returns a function, and the promise of what it is called with first.
const once = () => { let then; const first = new Promise((done) => { then = done; }); return [then, first]; };

run({
  async accept() {
    const [then, asked] = once();
    await device(200, then);
    const answer = await request('ssh');
    const at = await asked;
    const { url, token, accepted: yes } = accepted(answer);
    say({ accepted: yes, status: answer.status, levels: at.levels, name: at.name, empty: at.empty, short: at.short, host: at.host, port: at.port, same: at.url === url });
    say({ forged: await open(url, token.slice(0, -2) + (token.endsWith('A') ? 'BB' : 'AA')) });
    const service = await open(url, token);
    const big = Buffer.alloc(300000, 7);
    service.send(Buffer.from('before the device is there'));
    service.send(big);
    say({ again: await open(url, token) });
    const end = await open(at.url, at.token, ['AMQP', 'other']);
    say({ protocol: end.protocol });
    const up = await read(end, 26 + big.length);
    say({ held: up.slice(0, 26).toString(), bytes: up.length, reused: await open(at.url, at.token) });
    const down = read(service, 5);
    end.send(Buffer.from('hello'));
    say({ down: (await down).toString() });
    const gone = closed(service);
    end.close();
    await gone;
    say({ closed: true, late: await open(url, token) });
  },
  // Every api-version that an SDK with streams ever sent, and the service closes.
  async versions() {
    const waiting = [];
    await device(200, (a) => waiting.shift()(a));
    for (const version of VERSIONS) {
      const asked = new Promise((done) => waiting.push(done));
      const a = accepted(await request('ssh', {}, version));
      const at = await asked;
      const [service, end] = [await open(a.url, a.token), await open(at.url, at.token)];
      const got = read(end, 5);
      service.send(Buffer.from('hello'));
      const [text, gone] = [(await got).toString(), closed(end)];
      service.close();
      say({ version, accepted: a.accepted, text, code: (await gone).code });
    }
  },
  async reject() {
    await device(400, () => {});
    const answer = await request('ssh');
    say({ accepted: accepted(answer).accepted, status: answer.status, url: accepted(answer).url || 'none' });
  },
  async offline() {
    say(answered(await request('ssh')));
    say(answered(await request('ssh', { 'iothub-streaming-connect-timeout-in-seconds': '1' })));
    say(answered(await request('ssh', {}, VERSIONS[0], SERVICE, 'nobody')));
    const later = request('ssh', { 'iothub-streaming-connect-timeout-in-seconds': '20' });
    say({ asked: true });
    await goOn();
    await device(200, () => {});
    say({ accepted: accepted(await later).accepted });
  },
  async timeout() {
    await device(0, () => {});
    say(answered(await request('ssh', { 'iothub-streaming-response-timeout-in-seconds': '1' })));
    say(answered(await request('ssh', { 'iothub-streaming-response-timeout-in-seconds': 'soon' })));
    say(answered(await request('ssh', { 'iothub-streaming-response-timeout-in-seconds': '301' })));
  },
  async names() {
    await device(200, () => {});
    say({ accepted: accepted(await request('x'.repeat(128))).accepted });
    say(answered(await request('x'.repeat(129))));
    say(answered(await request('x'.repeat(10000))));
    say(answered(await request('a%2Fb')));
    say(answered(await request('a%23')));
  },
  // A person with a grant uses a program that knows connection strings and nothing else.
  async grant() {
    const waiting = [];
    await device(200, (a) => waiting.shift()(a));
    say(answered(await request('ssh'))); // by the policy's key
    const asked = new Promise((done) => waiting.push(done));
    const a = accepted(await request('ssh', {}, VERSIONS[2], GRANT));
    const at = await asked;
    const [service, end] = [await open(a.url, a.token), await open(at.url, at.token)];
    const got = read(end, 5);
    service.send(Buffer.from('hello'));
    say({ accepted: a.accepted, text: (await got).toString() });
    say(answered(await request('telnet', {}, VERSIONS[2], GRANT)));
    say(answered(await request('ssh', {}, VERSIONS[2], GRANT, 'e')));
    say(answered(await call(rest(GRANT), 'GET', `/devices/${DEVICE}?api-version=2021-04-12`)));
    say(answered(await call(rest(GRANT), 'POST', `/twins/${DEVICE}/methods?api-version=2021-04-12`)));
    const forged = GRANT.replace(/SharedAccessKey=.*/, 'SharedAccessKey=' + Buffer.alloc(32).toString('base64'));
    say(answered(await request('ssh', {}, VERSIONS[2], forged)));
    say({ ready: true });
    const both = Promise.all([closed(service), closed(end)]);
    await goOn(); // the test takes the grant away
    const [first, second] = await both;
    say({ service: first.code, device: second.code, why: first.why });
    say(answered(await request('ssh', {}, VERSIONS[2], GRANT)));
  },
});
