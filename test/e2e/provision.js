// Devices that find their hub by themselves, over the private path: node provision.js CONNECTION_FILE ID_SCOPE. The operator enrolls a group with the
// unmodified service SDK; a device of it registers and sends. Prints the hub it was assigned to.
'use strict';
const fs = require('fs');
const crypto = require('crypto');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt');

const [file, scope] = process.argv.slice(2);
const text = fs.readFileSync(file, 'utf8').trim();
const host = /HostName=([^;]+)/.exec(text)[1];
const group = Buffer.from('abcdefghijklmnopqrstuvwxyz012345').toString('base64');
const key = crypto.createHmac('sha256', Buffer.from(group, 'base64')).update('press-9').digest('base64');

(async () => {
  await ProvisioningServiceClient.fromConnectionString(text).createOrUpdateEnrollmentGroup({
    enrollmentGroupId: 'presses', attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: group, secondaryKey: group } },
  });
  const registered = await new Promise((ok, no) => ProvisioningDeviceClient.create(host, scope, new ProvisioningMqtt(), new SymmetricKeySecurityClient('press-9', key))
    .register((err, r) => (err ? no(err) : ok(r))));
  const device = Client.fromConnectionString(`HostName=${registered.assignedHub};DeviceId=${registered.deviceId};SharedAccessKey=${key}`, Mqtt);
  await device.open();
  await device.sendEvent(new Message('provisioned'));
  await device.close();
  console.log(registered.assignedHub);
  process.exit(0);
})().catch((err) => { console.error(err); process.exit(1); });
