// Devices that register with a provisioning service, and operators who enroll them: node -r ./preload.js provisioning.js NAME. HOST and SCOPE
// name the service; ID with KEY, or CERT and CERT_KEY, the device; TRANSPORT is http, mqtt, mqttws, amqp or amqpws.
'use strict';
const crypto = require('crypto');
const { Client } = require('azure-iot-device');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
const transports = {
  http: () => new (require('azure-iot-provisioning-device-http').Http)(),
  mqtt: () => new (require('azure-iot-provisioning-device-mqtt').Mqtt)(),
  mqttws: () => new (require('azure-iot-provisioning-device-mqtt').MqttWs)(),
  amqp: () => new (require('azure-iot-provisioning-device-amqp').Amqp)(),
  amqpws: () => new (require('azure-iot-provisioning-device-amqp').AmqpWs)(),
};
const { say, goOn, attempt, step, run } = require('./lib.js');

const env = process.env;
const certificate = () => ({ cert: env.CERT, key: env.CERT_KEY });
const security = () => (env.CERT ? new X509Security(env.ID, certificate()) : new SymmetricKeySecurityClient(env.ID, env.KEY));
const provisioning = (sec) => {
  const client = ProvisioningDeviceClient.create(env.HOST, env.SCOPE, transports[env.TRANSPORT || 'mqtt'](), sec || security());
  if (env.PAYLOAD) client.setProvisioningPayload(JSON.parse(env.PAYLOAD));
  return client;
};

// register registers and tells what became of it, and how long that took.
const register = async (client) => {
  const began = Date.now();
  let result;
  try {
    result = await client.register();
    result = result.registrationState || result; // with a TPM it is the whole operation
  } catch (err) {
    // What is rejected over AMQP is no Error: it has the AMQP error's condition.
    say({ step: 'register', error: err.name || err.condition, message: err.message || err.description, code: err.result && (err.result.errorCode || (err.result.registrationState || {}).errorCode), body: err.result });
    return undefined;
  }
  say({ step: 'register', body: result, took: Date.now() - began });
  return result;
};

run({
  async register() {
    await register(provisioning());
  },

  // again registers as often as the test says.
  async again() {
    while (await goOn() === 'again') await register(provisioning());
  },

  // connect registers, and connects to the hub it was assigned to.
  async connect() {
    const r = await register(provisioning());
    const cs = `HostName=${r.assignedHub};DeviceId=${r.deviceId};` + (env.CERT ? 'x509=true' : `SharedAccessKey=${env.KEY}`);
    const { Mqtt, Amqp } = require(env.TRANSPORT === 'amqp' ? 'azure-iot-device-amqp' : 'azure-iot-device-mqtt');
    const client = Client.fromConnectionString(cs, Mqtt || Amqp);
    if (env.CERT) client.setOptions(certificate());
    await client.open();
    const twin = await client.getTwin();
    say({ step: 'connect', body: twin.properties.desired });
    await client.close();
  },

  // tpm registers with a TPM which the test plays.
  async tpm() {
    let key;
    const ask = async (line) => { say(line); return goOn(); };
    await register(provisioning({
      getEndorsementKey: (done) => done(null, Buffer.from(env.EK, 'base64')),
      getStorageRootKey: (done) => done(null, Buffer.from(env.SRK, 'base64')),
      getRegistrationId: (done) => done(null, env.ID),
      activateIdentityKey: (blob, done) => ask({ activate: blob.toString('base64') }).then((k) => { key = Buffer.from(k, 'base64'); done(null); }, done),
      signWithIdentity: (data, done) => done(null, crypto.createHmac('sha256', key).update(data).digest()),
    }));
    say({ step: 'hub key', body: key.toString('base64') });
  },

  async enrollments() {
    const service = ProvisioningServiceClient.fromConnectionString(env.SERVICE);
    const symmetric = (id) => ({ registrationId: id, attestation: { type: 'symmetricKey' } });
    const made = await step('create', service.createOrUpdateIndividualEnrollment({
      ...symmetric('made-1'), deviceId: 'Made+1', provisioningStatus: 'enabled', initialTwin: { tags: { hall: 3 }, properties: { desired: { rate: 5 } } }, capabilities: { iotEdge: true },
    }));
    await step('create again', service.createOrUpdateIndividualEnrollment(symmetric('made-1')));
    await step('update', service.createOrUpdateIndividualEnrollment({ ...made, provisioningStatus: 'disabled' }));
    await step('update stale', service.createOrUpdateIndividualEnrollment(made));
    await step('get', service.getIndividualEnrollment('made-1'));
    await step('get nobody', service.getIndividualEnrollment('nobody'));
    await step('mechanism', service.getIndividualEnrollmentAttestationMechanism('made-1'));
    await step('bad', service.createOrUpdateIndividualEnrollment({ registrationId: 'bad', attestation: { type: 'smile' } }));
    await step('group', service.createOrUpdateEnrollmentGroup({ enrollmentGroupId: 'Line-1', attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: env.CA } } } } }));
    await step('get group', service.getEnrollmentGroup('Line-1'));
    await step('group mechanism', service.getEnrollmentGroupAttestationMechanism('Line-1'));
    // Its promise never ends: the SDK answers a callback only.
    await step('bulk', new Promise((done, fail) => service.runBulkEnrollmentOperation(
      { mode: 'create', enrollments: ['bulk-1', 'bulk-2', 'made-1'].map(symmetric) }, (err, result) => (err ? fail(err) : done(result)))));
    const query = service.createIndividualEnrollmentQuery({ query: '*' }, 2);
    const found = [];
    while (query.hasMoreResults) {
      const page = await query.next(query.continuationToken); // without it the SDK begins again
      found.push((page.responseBody || page.result || page).map((e) => e.registrationId).join(' '));
    }
    say({ step: 'query', body: found });
    await step('groups', service.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 10).next());
    await goOn(); // a device registers meanwhile
    const state = await step('state', service.getDeviceRegistrationState('reg-1'));
    await step('states', service.createEnrollmentGroupDeviceRegistrationStateQuery({ query: '*' }, 'keys', 10).next());
    await step('delete state', service.deleteDeviceRegistrationState(state));
    await step('state again', service.getDeviceRegistrationState('reg-1'));
    await step('delete stale', service.deleteIndividualEnrollment(made));
    await step('delete', service.deleteIndividualEnrollment('made-1'));
    await step('delete again', service.deleteIndividualEnrollment('made-1'));
    await step('delete group', service.deleteEnrollmentGroup('Line-1'));
    const forged = env.SERVICE.replace(/SharedAccessKey=.*/, 'SharedAccessKey=' + Buffer.alloc(32).toString('base64'));
    await step('wrong key', attempt(ProvisioningServiceClient.fromConnectionString(forged).getIndividualEnrollment('bulk-1')).then((r) => { if (r.error) throw Object.assign(new Error(r.message), { name: r.error }); }));
    await step('read only', ProvisioningServiceClient.fromConnectionString(env.READER).deleteIndividualEnrollment('bulk-1'));
  },
});
