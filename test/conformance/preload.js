// Loaded before an SDK (node -r): names under azure-devices.net and azure-devices-provisioning.net are this machine, and where the test could not have the
// well-known ports, which the SDKs do not let anybody change, others stand in for them. The SDKs themselves are untouched.
'use strict';
const dns = require('dns');
const net = require('net');

const hosts = { '.azure-devices.net': '127.0.0.1', '.azure-devices-provisioning.net': '127.0.0.2' };
const lookup = dns.lookup;
dns.lookup = function (name, options, callback) {
  if (typeof options === 'function') [options, callback] = [{}, options];
  const zone = Object.keys(hosts).find((z) => name.endsWith(z));
  if (!zone) return lookup.call(dns, name, options, callback);
  const all = options && options.all;
  process.nextTick(() => (all ? callback(null, [{ address: hosts[zone], family: 4 }]) : callback(null, hosts[zone], 4)));
};

// PORTS is "443=40001,8883=40002", or "127.0.0.2:443=40003" for what is on one address only.
const ports = Object.fromEntries((process.env.PORTS || '').split(',').filter(Boolean).map((p) => p.split('=')));
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options && typeof options === 'object') {
    const zone = Object.keys(hosts).find((z) => String(options.host).endsWith(z));
    const port = ports[`${zone ? hosts[zone] : options.host}:${options.port}`] || ports[options.port];
    if (port) options.port = Number(port);
  }
  return connect.apply(this, args);
};
