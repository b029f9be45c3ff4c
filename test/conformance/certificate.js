// Devices with certificates: node -r ./preload.js certificate.js NAME. The connection string of a device comes in DEVICE, its certificate and
// its key in CERT and KEY, http or mqtt in OVER.
'use strict';
const { Client, Message } = require('azure-iot-device');
const transports = { http: require('azure-iot-device-http').Http, mqtt: require('azure-iot-device-mqtt').Mqtt };
const { step, run } = require('./lib.js');

run({
  async send() {
    const client = Client.fromConnectionString(process.env.DEVICE, transports[process.env.OVER]);
    client.setOptions({ cert: process.env.CERT, key: process.env.KEY }); // over HTTPS its promise never ends
    await step('send', client.sendEvent(new Message('by certificate')).then(() => ({})));
  },
});
