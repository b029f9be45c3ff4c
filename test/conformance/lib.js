// What every file of scenarios shares. Every line on standard output is a JSON object; the Go test reads them and says on standard input
// when to go on.
'use strict';
const fs = require('fs');
const readline = require('readline');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// say tells the test something.
const say = (o) => fs.writeSync(1, JSON.stringify(o) + '\n');
// failure is an error as the test sees it; code is what an SDK kept of the hub's own.
const failure = (err) => ({ error: err.name, message: err.message });
// goOn waits for the test's next line and returns it.
const goOn = async () => (await lines.next()).value;
// attempt turns the outcome of a promise into an object.
const attempt = (promise) => promise.then((value) => ({ value }), failure);
const happens = (emitter, event) => new Promise((done) => emitter.once(event, done));
// step attempts something and tells the test: {step, error, message, body}. It returns the body of an SDK's {responseBody, response}.
const step = async (name, promise) => {
  const r = await attempt(promise);
  const v = r.value;
  const body = v && typeof v === 'object' && 'responseBody' in v ? v.responseBody : v && v.result !== undefined ? v.result : v;
  say({ step: name, error: r.error, message: r.message, body });
  return body;
};

// run plays the scenario that the command line names.
const run = (scenarios) => scenarios[process.argv[2]](...process.argv.slice(3)).then(
  () => process.exit(0),
  (err) => { say({ failed: err.name, message: err.message, stack: err.stack }); process.exit(1); },
);

module.exports = { say, failure, goOn, attempt, happens, step, run };
