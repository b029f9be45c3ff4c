// Sends messages with the unmodified device SDK, one JSON line on standard output for each that the hub acknowledged.
//   node send.js CONNECTION_STRING_FILE COUNT WINDOW   COUNT 0: until standard input ends
// A message that fails is sent again under the same id, as a careful firmware would. An id names body and properties.
'use strict';
const fs = require('fs');
const crypto = require('crypto');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const [connectionFile, countText, windowText] = process.argv.slice(2);
const count = Number(countText);
const client = Client.fromConnectionString(fs.readFileSync(connectionFile, 'utf8').trim(), Mqtt);
const run = process.env.RUN || 'r';

function message(id) {
  const body = crypto.createHash('sha256').update(run + id).digest();
  const m = new Message(Buffer.concat([body, Buffer.from(` ${id} \u00fc\u0000\n`)]));
  m.messageId = `${run}-${id}`;
  m.contentType = 'application/octet-stream';
  m.properties.add('seq', String(id));
  m.properties.add('unit', 'kPa & \u00b0C = 100%');
  return m;
}

let next = 0, inFlight = 0, ended = false;
const say = (o) => fs.writeSync(1, JSON.stringify(o) + '\n');

function pump() {
  while (!ended && inFlight < Number(windowText) && (count === 0 || next < count)) send(next++);
  if (inFlight === 0 && (ended || next >= count) && !(count === 0 && !ended)) finish();
}
function send(id) {
  inFlight++;
  client.sendEvent(message(id), (err) => {
    inFlight--;
    if (err) {
      say({ failed: id, error: err.name });
      if (!ended) return setTimeout(() => { send(id); }, 50);
    } else {
      say({ acked: id });
    }
    pump();
  });
}
let finished = false;
function finish() {
  if (finished) return;
  finished = true;
  client.close(() => { say({ done: true }); process.exit(0); });
}
process.stdin.on('end', () => { ended = true; setTimeout(finish, 3000); pump(); });
if (count === 0) process.stdin.resume();

client.on('error', (err) => say({ error: err.name }));
function open() {
  client.open((err) => {
    if (err) {
      say({ open: err.name, message: err.message });
      if (process.env.ONCE) process.exit(2);
      return setTimeout(open, 200);
    }
    say({ opened: true });
    pump();
  });
}
open();
