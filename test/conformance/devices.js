// What scenarios of devices share: the client of DEVICE, or of MODULE, over TRANSPORT (mqtt, mqttws, amqp, amqpws or http), all as the test sets them.
'use strict';
const { NoRetry } = require('azure-iot-common');
const { Client, ModuleClient } = require('azure-iot-device');

const { TRANSPORT = 'mqtt', DEVICE, MODULE } = process.env;
// transport is the SDK's for TRANSPORT. Only its package is loaded: that takes time.
const transport = {
  mqtt: () => require('azure-iot-device-mqtt').Mqtt, mqttws: () => require('azure-iot-device-mqtt').MqttWs,
  amqp: () => require('azure-iot-device-amqp').Amqp, amqpws: () => require('azure-iot-device-amqp').AmqpWs,
  http: () => require('azure-iot-device-http').Http,
}[TRANSPORT]();

// make returns a client that does not try again by itself.
const make = (text = MODULE || DEVICE) => {
  const client = (text.includes(';ModuleId=') ? ModuleClient : Client).fromConnectionString(text, transport);
  client.setRetryPolicy(new NoRetry());
  return client;
};
// prove gives a client a certificate and its key, as PEM. Over HTTPS nobody ends the promise of setOptions, and nobody has to.
const prove = (client, cert, key) => { client.setOptions({ cert, key }); return client; };
// fromToken returns the client of a token.
const fromToken = (token) => {
  const client = (token.includes('modules') ? ModuleClient : Client).fromSharedAccessSignature(token, transport);
  client.setRetryPolicy(new NoRetry());
  return client;
};
// often makes a client over HTTPS look for messages every twentieth of a second, and not every second.
const often = (client) => {
  if (TRANSPORT === 'http') client.setOptions({ http: { receivePolicy: { interval: 0.05, drain: true } } });
  return client;
};
// properties of a message as an object.
const properties = (m) => Object.fromEntries(m.properties.propertyList.map((p) => [p.key, p.value]));

module.exports = { transport, make, prove, fromToken, often, properties };
