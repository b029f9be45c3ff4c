// How drivers tell the test values of AMQP: an object of one key, which is the type, such as {"long": "5"}; driver/values.go has the same.
'use strict';
const { types } = require('rhea');

const wrap = {
  null: () => null,
  boolean: (v) => v,
  ubyte: (v) => types.wrap_ubyte(v),
  ushort: (v) => types.wrap_ushort(v),
  uint: (v) => types.wrap_uint(v),
  ulong: (v) => types.wrap_ulong(Number(v)),
  byte: (v) => types.wrap_byte(v),
  short: (v) => types.wrap_short(v),
  int: (v) => types.wrap_int(v),
  long: (v) => types.wrap_long(Number(v)),
  float: (v) => types.wrap_float(v),
  double: (v) => types.wrap_double(v),
  timestamp: (v) => types.wrap_timestamp(v),
  uuid: (v) => types.wrap_uuid(v),
  binary: (v) => Buffer.from(v, 'base64'),
  string: (v) => v,
  symbol: (v) => types.wrap_symbol(v),
  list: (v) => v.map(plain),
  map: (v) => Object.fromEntries(v.map(([key, value]) => [plain(key), plain(value)])),
};

// plain is a value as the SDK takes it.
const plain = (typed) => {
  const [type, value] = Object.entries(typed)[0];
  return wrap[type](value);
};

// typed is a value as the SDK gave it. JavaScript has one type for numbers, so that is all there is to tell of one.
const typed = (v) => {
  if (v === null || v === undefined) return { null: null };
  if (typeof v === 'number') return { number: v };
  if (typeof v === 'boolean') return { boolean: v };
  if (typeof v === 'string') return { string: v };
  if (v instanceof Date) return { timestamp: v.getTime() };
  if (Buffer.isBuffer(v) || v instanceof Uint8Array) return { binary: Buffer.from(v).toString('base64') };
  if (Array.isArray(v)) return { list: v.map(typed) };
  return { map: Object.entries(v).map(([key, value]) => [{ string: key }, typed(value)]) };
};

const each = (o, f) => Object.fromEntries(Object.entries(o || {}).filter(([, v]) => v !== undefined).map(([k, v]) => [k, f(v)]));

module.exports = { plain, typed, each };
