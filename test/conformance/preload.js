// Loaded before an SDK (node -r): names under azure-devices.net are this machine, and the well-known ports, which the SDKs do not let
// anybody change, are those of the test. The SDKs themselves are untouched.
'use strict';
const dns = require('dns');
const net = require('net');

const ports = { 8883: process.env.MQTT_PORT, 443: process.env.HTTPS_PORT };
const lookup = dns.lookup;
dns.lookup = function (name, options, callback) {
  if (typeof options === 'function') [options, callback] = [{}, options];
  if (!name.endsWith('.azure-devices.net')) return lookup.call(dns, name, options, callback);
  const all = options && options.all;
  process.nextTick(() => (all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4)));
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options && typeof options === 'object' && ports[options.port]) options.port = Number(ports[options.port]);
  return connect.apply(this, args);
};
