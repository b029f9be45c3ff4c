// Creates a device with the unmodified service SDK and prints its connection string.
//   node registry.js CONNECTION_STRING_FILE DEVICE_ID
'use strict';
const fs = require('fs');
const { Registry } = require('azure-iothub');

const text = fs.readFileSync(process.argv[2], 'utf8').trim();
const registry = Registry.fromConnectionString(text);
registry.create({ deviceId: process.argv[3], status: 'enabled' })
  .then(({ responseBody: device }) => {
    const host = /HostName=([^;]+)/.exec(text)[1];
    console.log(`HostName=${host};DeviceId=${device.deviceId};SharedAccessKey=${device.authentication.symmetricKey.primaryKey}`);
  })
  .catch((err) => { console.error(`${err.name}: ${err.message}`); process.exit(1); });
