// Device streams: node -r ./preload.js streams.js NAME. No SDK that can be had has them, so the device is azure-iot-mqtt-base, which carries any
// topic, and the ends of a stream are ws. HOST, DEVICE and TOKEN are the device's, SERVICE_TOKEN that of who asks.
'use strict';
const https = require('https');
const WebSocket = require('ws');
const { MqttBase } = require('azure-iot-mqtt-base');
const { say, goOn, run } = require('./lib.js');

const { HOST, DEVICE, TOKEN, SERVICE_TOKEN } = process.env;
const promise = (start) => new Promise((ok, no) => start((err, value) => (err ? no(err) : ok(value))));

// device connects and answers every request for a stream with the status; it tells what it was asked.
const device = async (status, then) => {
  const mqtt = new MqttBase();
  mqtt.on('error', () => {});
  mqtt.on('message', (topic, payload) => {
    const parts = topic.split('/');
    const query = Object.fromEntries(parts[4].slice(1).split('&').map((f) => f.split('=')));
    const asked = { levels: parts.length, name: parts[3], empty: payload.length === 0, short: query.$rid.length <= 6, url: decodeURIComponent(query.$url), token: query.$auth };
    mqtt.publish(`$iothub/streams/res/${status}/?$rid=${query.$rid}`, '', { qos: 0 }, () => {});
    then(asked);
  });
  await promise((done) => mqtt.connect({
    uri: `mqtts://${HOST}`, clientId: DEVICE, username: `${HOST}/${DEVICE}/?api-version=2021-04-12`, sharedAccessSignature: TOKEN, clean: true,
  }, done));
  await promise((done) => mqtt.subscribe('$iothub/streams/POST/#', { qos: 0 }, done));
  await promise((done) => mqtt.subscribe('$iothub/streams/res/#', { qos: 0 }, done));
  return mqtt;
};

// request asks for a stream as the preview SDK of the service does.
const request = (name, headers) => new Promise((done) => {
  const r = https.request({
    host: HOST, port: 443, method: 'POST', path: `/twins/${DEVICE}/streams/${name}?api-version=2018-10-20-preview`, headers: { Authorization: SERVICE_TOKEN, ...headers },
  }, (answer) => {
    let body = '';
    answer.on('data', (b) => { body += b; }).on('end', () => done({ status: answer.statusCode, headers: answer.headers, body }));
  });
  r.end();
});

const open = (url, token, ...more) => new Promise((done) => {
  const ws = new WebSocket(url, ...more, { headers: { Authorization: `Bearer ${token}` } });
  ws.on('open', () => done(ws)).on('unexpected-response', (_, answer) => done(answer.statusCode)).on('error', () => {});
});
const read = (ws, bytes) => new Promise((done) => {
  let got = Buffer.alloc(0);
  ws.on('message', (b) => { got = Buffer.concat([got, b]); if (got.length >= bytes) done(got); });
});
const closed = (ws) => new Promise((done) => ws.on('close', done));

run({
  async accept() {
    let theirs;
    const asked = new Promise((done) => { theirs = done; });
    await device(200, theirs);
    const answer = await request('ssh');
    const at = await asked;
    say({ accepted: answer.headers['iothub-streaming-is-accepted'], status: answer.status, levels: at.levels, name: at.name, empty: at.empty, short: at.short, same: at.url === answer.headers['iothub-streaming-url'] });
    const url = answer.headers['iothub-streaming-url'], token = answer.headers['iothub-streaming-auth-token'];
    say({ forged: await open(url, token.slice(0, -2) + (token.endsWith('A') ? 'BB' : 'AA')) });
    const service = await open(url, token);
    const big = Buffer.alloc(300000, 7);
    service.send(Buffer.from('before the device is there'));
    service.send(big);
    say({ again: await open(url, token) });
    const end = await open(at.url, at.token, ['AMQP', 'other']);
    say({ protocol: end.protocol });
    const up = await read(end, 26 + big.length);
    say({ held: up.slice(0, 26).toString(), bytes: up.length });
    const down = read(service, 5);
    end.send(Buffer.from('hello'));
    say({ down: (await down).toString() });
    const gone = closed(service);
    end.close();
    await gone;
    say({ closed: true, late: await open(url, token) });
  },
  async reject() {
    await device(400, () => {});
    const answer = await request('ssh');
    say({ accepted: answer.headers['iothub-streaming-is-accepted'], status: answer.status, url: answer.headers['iothub-streaming-url'] || 'none' });
  },
  async offline() {
    const answer = await request('ssh');
    say({ status: answer.status, code: JSON.parse(JSON.parse(answer.body).Message).errorCode, name: answer.headers['iothub-errorcode'] });
    const later = request('ssh', { 'iothub-streaming-connect-timeout-in-seconds': '20' });
    say({ asked: true });
    await goOn();
    await device(200, () => {});
    say({ accepted: (await later).headers['iothub-streaming-is-accepted'] });
  },
});
