// Exercises examples/checkpointstore/isthmus-checkpoint-store.js as a processor would. The namespace is in the environment.
'use strict';
const assert = require('node:assert/strict');
const { IsthmusCheckpointStore } = require('../../examples/checkpointstore/isthmus-checkpoint-store.js');

const place = { fullyQualifiedNamespace: '127.0.0.1', eventHubName: 'telemetry', consumerGroup: 'for-js' };
const of = [place.fullyQualifiedNamespace, place.eventHubName, place.consumerGroup];

async function main() {
  const s = new IsthmusCheckpointStore(process.env.EVENTHUB_CONNECTION_STRING, { url: process.env.EVENTHUB_URL });
  const claim = (partitionId, ownerId, etag) => s.claimOwnership([{ ...place, partitionId, ownerId, etag }]);
  assert.deepEqual(await s.listOwnership(...of), []);
  const [a, b] = await s.claimOwnership([{ ...place, partitionId: '0', ownerId: 'one' }, { ...place, partitionId: '1', ownerId: 'one' }]);
  assert.equal(b.partitionId, '1');
  assert.equal(b.ownerId, 'one');
  assert.ok(a.etag && Math.abs(Date.now() - b.lastModifiedTimeInMs) < 60000);
  assert.deepEqual(await claim('0', 'two'), []);
  const [again] = await claim('0', 'two', a.etag);
  assert.notEqual(again.etag, a.etag);
  assert.deepEqual(await claim('0', 'one', a.etag), []);
  assert.equal((await claim('0', '', again.etag)).length, 1);
  assert.deepEqual((await s.listOwnership(...of)).map((o) => [o.partitionId, o.ownerId, o.consumerGroup]), [['0', '', 'for-js'], ['1', 'one', 'for-js']]);

  assert.deepEqual(await s.listCheckpoints(...of), []);
  await s.updateCheckpoint({ ...place, partitionId: '1', sequenceNumber: 0, offset: '0' });
  assert.deepEqual(await s.listCheckpoints(...of), [{ ...place, partitionId: '1', sequenceNumber: 0, offset: '0' }]);
  await assert.rejects(s.updateCheckpoint({ ...place, partitionId: '1', sequenceNumber: 99, offset: '99' }), /has no event 99/);
  await assert.rejects(s.listCheckpoints(of[0], of[1], 'nobody'), /no consumer group/);
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
