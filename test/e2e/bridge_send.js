// Sends readings with the unmodified device SDK until standard input ends: node bridge_send.js CONNECTION_STRING_FILE SENSOR EVERY_MS
// Every reading has what a contract lets cross and what it does not (operator, serial, a property). One JSON line for each acknowledgement.
'use strict';
const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const [connectionFile, sensor, everyText] = process.argv.slice(2);
const secret = process.env.CANARY;
const client = Client.fromConnectionString(fs.readFileSync(connectionFile, 'utf8').trim(), Mqtt);
const say = (o) => fs.writeSync(1, JSON.stringify(o) + '\n');
let n = 0, inFlight = 0, ended = false, open = false;

function reading() {
  const id = n++;
  const bad = id % 50 === 49; // breaks the contract
  const m = new Message(JSON.stringify({ sensor, n: id, celsius: bad ? 9000 : 20 + (id * 7919) % 1000 / 100, at: new Date().toISOString(), operator: secret, [secret]: 1, serial: { of: secret } }));
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  m.messageId = `${secret}-${id}`;
  m.properties.add('shift', secret);
  send(m, id, bad);
}
function send(m, id, bad) {
  inFlight++;
  client.sendEvent(m, (err) => {
    inFlight--;
    if (err) { if (!ended) setTimeout(() => send(m, id, bad), 100); else say({ failed: id }); } else say({ acked: id, bad });
    finish();
  });
}
let finished = false;
function finish() {
  if (!ended || inFlight > 0 || finished) return;
  finished = true;
  client.close(() => { say({ done: true }); process.exit(0); });
}
setInterval(() => { if (open && !ended && inFlight < 50) reading(); }, Number(everyText));
process.stdin.on('end', () => { ended = true; finish(); setTimeout(() => process.exit(0), 15000); });
process.stdin.resume();
client.on('error', (err) => say({ error: err.name }));
(function connect() {
  client.open((err) => {
    if (err) { say({ open: err.name, message: err.message }); return setTimeout(connect, 200); }
    open = true;
    say({ opened: true });
  });
})();
