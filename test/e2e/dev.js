// A day with a hub of one's own: node dev.js, with what `isthmus hub dev -o json` said on standard input. A device is enrolled, registers, connects to
// the hub it was assigned to, over MQTT and over WebSocket, and does what devices do; services do what services do. Prints one JSON object.
'use strict';
const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Registry, Client: Service } = require('azure-iothub');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt');

const hub = JSON.parse(fs.readFileSync(0, 'utf8'));
const key = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const out = {};

(async () => {
  const enrollments = ProvisioningServiceClient.fromConnectionString(hub.provisioningConnectionString);
  await enrollments.createOrUpdateIndividualEnrollment({
    registrationId: 'press-2', attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: key } },
    initialTwin: { tags: { hall: 3 }, properties: { desired: { rate: 5 } } },
  });
  const security = new SymmetricKeySecurityClient('press-2', key);
  const registered = await new Promise((ok, no) => ProvisioningDeviceClient.create(hub.provisioningHostName, hub.idScope, new ProvisioningMqtt(), security)
    .register((err, r) => (err ? no(err) : ok(r))));
  out.assigned = `${registered.assignedHub} ${registered.deviceId}`;

  const registry = Registry.fromConnectionString(hub.serviceConnectionString);
  const service = Service.fromConnectionString(hub.serviceConnectionString);
  for (const [name, transport] of [['mqtt', Mqtt], ['websocket', MqttWs]]) {
    const device = Client.fromConnectionString(`HostName=${registered.assignedHub};DeviceId=${registered.deviceId};SharedAccessKey=${key}`, transport);
    await device.open();
    const twin = await device.getTwin();
    const changed = new Promise((done) => twin.on('properties.desired.rate', (rate) => { if (rate === 7) done(rate); }));
    await new Promise((ok, no) => twin.properties.reported.update({ [name]: 'up' }, (err) => (err ? no(err) : ok())));
    device.onDeviceMethod('reboot', (request, response) => response.send(200, { in: request.payload.in }, () => {}));
    await new Promise((done) => { setImmediate(done); });
    const patch = (rate) => registry.updateTwin(registered.deviceId, { properties: { desired: { rate } } }, '*');
    await patch(6);
    await patch(7);
    const answer = await service.invokeDeviceMethod(registered.deviceId, { methodName: 'reboot', payload: { in: 5 }, connectTimeoutInSeconds: 5, responseTimeoutInSeconds: 10 });
    await device.sendEvent(new Message(`by ${name}`));
    out[name] = `${await changed} ${answer.result.status} ${answer.result.payload.in}`;
    await device.close();
  }
  const found = await registry.createQuery('SELECT deviceId FROM devices WHERE tags.hall = 3 AND properties.reported.websocket = \'up\'').nextAsTwin();
  out.found = found.result.map((d) => d.deviceId).join();
  console.log(JSON.stringify(out));
  process.exit(0);
})().catch((err) => { console.error(err); process.exit(1); });
