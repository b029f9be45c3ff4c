// What @azure/storage-blob and the checkpoint store of @azure/event-hubs do with a blob service. The Go test beside it says which account.
'use strict';
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const {
  AccountSASPermissions, AccountSASResourceTypes, AccountSASServices, AppendBlobClient, BlobSASPermissions, BlobServiceClient, ContainerSASPermissions,
  StorageSharedKeyCredential, generateAccountSASQueryParameters, generateBlobSASQueryParameters,
} = require('@azure/storage-blob');
const { BlobCheckpointStore } = require('@azure/eventhubs-checkpointstore-blob');

const { CONNECTION, URL, TOKEN, READER_TOKEN, MANY } = process.env;
const once = { retryOptions: { maxTries: 1 } };
const service = BlobServiceClient.fromConnectionString(CONNECTION, once);
const key = CONNECTION.match(/AccountKey=([^;]+)/)[1];
const shared = new StorageSharedKeyCredential(CONNECTION.match(/AccountName=([^;]+)/)[1], key);
const refused = (p, code, status) => assert.rejects(p, (e) => {
  assert.equal(e.code, code, `${e.code}: ${e.message}`);
  if (status) assert.equal(e.statusCode, status);
  return true;
});
const text = async (client, ...args) => (await client.downloadToBuffer(...args)).toString();

const cases = {
  async containers() {
    const c = service.getContainerClient('js-containers');
    assert.equal((await c.createIfNotExists({ metadata: { line: '7' } })).succeeded, true);
    assert.equal((await c.createIfNotExists()).succeeded, false);
    await refused(service.getContainerClient('js-public').create({ access: 'container' }), 'PublicAccessNotPermitted', 409);
    assert.equal((await c.getProperties()).metadata.line, '7');
    const { etag } = await c.setMetadata({ line: '8' });
    assert.equal((await c.getProperties()).etag, etag);
    assert.equal((await c.getProperties()).metadata.line, '8');
    assert.deepEqual((await c.getAccessPolicy()).signedIdentifiers, []);
    assert.equal(await c.exists(), true);
    const names = [];
    for await (const i of service.listContainers({ prefix: 'js-con', includeMetadata: true })) names.push([i.name, i.metadata]);
    assert.deepEqual(names, [['js-containers', { line: '8' }]]);
    assert.equal((await service.getAccountInfo()).accountKind, 'StorageV2');
    await service.getProperties();
    await refused(service.getStatistics(), 'FeatureNotSupported', 400);
    await c.delete();
    await refused(c.delete(), 'ContainerNotFound', 404);
  },

  async blocks(c) {
    const big = crypto.randomBytes(8 * 1024 * 1024 + 5);
    const b = c.getBlockBlobClient('2026/ümlaut & co/100%.bin');
    let seen = 0;
    await b.uploadData(big, {
      blockSize: 1024 * 1024, maxSingleShotSize: 1024, concurrency: 5, onProgress: (p) => { seen = p.loadedBytes; },
      blobHTTPHeaders: { blobContentType: 'application/x-test', blobCacheControl: 'no-store', blobContentDisposition: 'attachment', blobContentLanguage: 'de', blobContentEncoding: 'identity' },
      metadata: { a_b: '1', aab: '2', aB1: '3', a: '4' },
    });
    assert.equal(seen, big.length);
    assert.ok((await b.downloadToBuffer(0, undefined, { blockSize: 1024 * 1024, concurrency: 5 })).equals(big));
    assert.ok((await b.downloadToBuffer(1000, 70000)).equals(big.subarray(1000, 71000)));
    const p = await b.getProperties();
    assert.deepEqual([p.contentType, p.cacheControl, p.contentDisposition, p.contentLanguage, p.contentEncoding], ['application/x-test', 'no-store', 'attachment', 'de', 'identity']);
    assert.deepEqual(p.metadata, { a_b: '1', aab: '2', ab1: '3', a: '4' });
    assert.equal(p.blobType, 'BlockBlob');
    await refused(b.download(big.length), 'InvalidRange', 416);

    // An upload that goes on where it stopped.
    const r = c.getBlockBlobClient('resumed');
    const id = (n) => Buffer.from(String(n).padStart(6, '0')).toString('base64');
    await r.stageBlock(id(1), 'one ', 4);
    await r.stageBlock(id(2), 'two ', 4);
    const list = await r.getBlockList('uncommitted');
    assert.deepEqual(list.uncommittedBlocks.map((x) => [x.name, Number(x.size)]), [[id(1), 4], [id(2), 4]]);
    assert.equal(await r.exists(), false);
    await r.stageBlock(id(3), 'three', 5);
    await r.commitBlockList([id(1), id(2), id(3)]);
    assert.equal(await text(r), 'one two three');
    await r.commitBlockList([id(3), id(1)]);
    assert.equal(await text(r), 'threeone ');
    await refused(r.commitBlockList([id(2)]), 'InvalidBlockList', 400);
    await refused(r.stageBlock(id(4), 'x', 1, { transactionalContentMD5: Buffer.alloc(16) }), 'Md5Mismatch', 400);
  },

  async changes(c) {
    const b = c.getBlockBlobClient('changed');
    const { etag } = await b.upload('hello', 5, { metadata: { k: 'v' } });
    const set = await b.setHTTPHeaders({ blobContentType: 'text/plain' });
    assert.notEqual(set.etag, etag);
    await b.setMetadata({ other: 'w' });
    const p = await b.getProperties();
    assert.deepEqual([p.contentType, p.metadata], ['text/plain', { other: 'w' }]);
    await refused(b.setMetadata({ x: 'y' }, { conditions: { ifMatch: etag } }), 'ConditionNotMet', 412);
    await refused(b.upload('x', 1, { conditions: { ifNoneMatch: '*' } }), 'BlobAlreadyExists', 409);
    await refused(b.download(0, 5, { conditions: { ifMatch: etag } }), 'ConditionNotMet', 412);
    assert.equal((await b.deleteIfExists()).succeeded, true);
    assert.equal((await b.deleteIfExists()).succeeded, false);
    await refused(b.download(), 'BlobNotFound', 404);
    await refused(service.getContainerClient('js-nowhere').getBlockBlobClient('x').upload('x', 1), 'ContainerNotFound', 404);
    const empty = c.getBlockBlobClient('empty');
    await empty.upload('', 0);
    assert.equal((await empty.getProperties()).contentLength, 0);
    assert.equal((await (await empty.download()).readableStreamBody) !== undefined, true);
  },

  async leases(c) {
    const b = c.getBlockBlobClient('leased');
    await b.upload('x', 1);
    const l = b.getBlobLeaseClient();
    const { leaseId } = await l.acquireLease(15);
    assert.equal((await b.getProperties()).leaseState, 'leased');
    await refused(b.upload('y', 1), 'LeaseIdMissing', 412);
    await refused(b.getBlobLeaseClient().acquireLease(-1), 'LeaseAlreadyPresent', 409);
    await b.upload('y', 1, { conditions: { leaseId } });
    await l.renewLease();
    await l.changeLease(crypto.randomUUID());
    assert.equal((await l.breakLease(0)).leaseTime, 0);
    await b.upload('z', 1);
    await b.delete();
  },

  async copies(c) {
    const from = c.getBlockBlobClient('source');
    await from.uploadData(Buffer.alloc(100000, 'x'), { metadata: { k: 'v' } });
    const to = c.getBlockBlobClient('target');
    const done = await (await to.beginCopyFromURL(from.url)).pollUntilDone();
    assert.equal(done.copyStatus, 'success');
    assert.deepEqual((await to.getProperties()).metadata, { k: 'v' });
    assert.equal((await to.syncCopyFromURL(from.url, { metadata: { n: '1' } })).copyStatus, 'success');
    await c.getBlockBlobClient('target-2').syncUploadFromURL(from.url);
    assert.equal((await text(c.getBlockBlobClient('target-2'))).length, 100000);
    await refused(to.syncCopyFromURL(from.url + 'x'), 'CannotVerifyCopySource', 404);
  },

  async lists(c) {
    const many = service.getContainerClient(MANY);
    let n = 0, last = '';
    const pages = [];
    for await (const page of many.listBlobsFlat({ includeMetadata: true }).byPage()) {
      pages.push(page.segment.blobItems.length);
      for (const i of page.segment.blobItems) {
        assert.ok(i.name > last);
        last = i.name;
        assert.equal(i.metadata.n, i.name.match(/(\d+)$/)[1]);
        n++;
      }
    }
    assert.deepEqual([n, pages], [5001, [5000, 1]]);
    let again = 0;
    const first = (await many.listBlobsFlat({ prefix: 'd3/' }).byPage({ maxPageSize: 100 }).next()).value;
    for await (const page of many.listBlobsFlat({ prefix: 'd3/' }).byPage({ maxPageSize: 300, continuationToken: first.continuationToken })) again += page.segment.blobItems.length;
    assert.equal(again + 100, 500);
    const tree = [];
    for await (const i of many.listBlobsByHierarchy('/')) tree.push(i.kind + ' ' + i.name);
    assert.deepEqual(tree, [...Array(10).keys()].map((d) => `prefix d${d}/`).concat('blob z5000'));
    await refused(many.listBlobsFlat().byPage({ continuationToken: 'nonsense' }).next(), 'OutOfRangeQueryParameterValue', 400);
    await c.getBlockBlobClient('<odd> & "quoted" \u{1F600}/x').upload('', 0);
    const odd = [];
    for await (const i of c.listBlobsFlat({ prefix: '<odd>' })) odd.push(i.name);
    assert.deepEqual(odd, ['<odd> & "quoted" \u{1F600}/x']);
  },

  async signatures(c) {
    const b = c.getBlockBlobClient('signed/1');
    await b.upload('signed', 6);
    const expiresOn = new Date(Date.now() + 3600e3);
    const of = (blobName, permissions) => generateBlobSASQueryParameters({ containerName: c.containerName, blobName, permissions, expiresOn, contentType: 'text/x-signed', protocol: 'https' }, shared);
    const at = (client, sas) => new client.constructor(`${client.url}?${sas}`, undefined, once);
    const reader = at(b, of('signed/1', BlobSASPermissions.parse('r')));
    const got = await reader.download();
    assert.equal(got.contentType, 'text/x-signed');
    assert.equal(await text(reader), 'signed');
    await refused(reader.upload('x', 1), 'AuthorizationPermissionMismatch', 403);
    const creator = at(b, of('signed/1', BlobSASPermissions.parse('c')));
    await refused(creator.upload('x', 1), 'AuthorizationPermissionMismatch', 403);
    const wrong = at(c.getBlockBlobClient('signed/2'), of('signed/1', BlobSASPermissions.parse('r')));
    await refused(wrong.download(), 'AuthenticationFailed', 403);
    const all = at(c, of(undefined, ContainerSASPermissions.parse('rl')));
    assert.equal((await all.listBlobsFlat({ prefix: 'signed/' }).byPage().next()).value.segment.blobItems.length, 1);
    await refused(all.delete(), 'AuthorizationResourceTypeMismatch', 403);
    const account = generateAccountSASQueryParameters({
      permissions: AccountSASPermissions.parse('rl'), services: AccountSASServices.parse('b').toString(), resourceTypes: AccountSASResourceTypes.parse('s').toString(), expiresOn,
    }, shared);
    const list = new BlobServiceClient(`${URL}?${account}`, undefined, once);
    assert.ok((await list.listContainers().byPage().next()).value.containerItems.length > 0);
    await refused(list.getContainerClient(c.containerName).getBlobClient('signed/1').download(), 'AuthorizationResourceTypeMismatch', 403);
    const old = generateBlobSASQueryParameters({ containerName: c.containerName, blobName: 'signed/1', permissions: BlobSASPermissions.parse('r'), expiresOn: new Date(Date.now() - 1000) }, shared);
    await refused(at(b, old).download(), 'AuthenticationFailed', 403);
    await refused(new b.constructor(b.url, undefined, once).download(), 'PublicAccessNotPermitted', 409);
    const strange = new BlobServiceClient(URL, new StorageSharedKeyCredential(shared.accountName, Buffer.alloc(64).toString('base64')), once);
    await refused(strange.getProperties(), 'AuthenticationFailed', 403);
  },

  async identity(c) {
    const as = (token) => new BlobServiceClient(URL, { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3600e3 }) }, once).getContainerClient(c.containerName);
    const writer = as(TOKEN).getBlockBlobClient('by-identity');
    await writer.upload('mine', 4);
    const reader = as(READER_TOKEN);
    assert.equal(await text(reader.getBlobClient('by-identity')), 'mine');
    await refused(reader.getBlockBlobClient('by-identity').upload('x', 1), 'AuthorizationPermissionMismatch', 403);
    await refused(as('a.b.c').getProperties(), 'InvalidAuthenticationInfo', 401);
  },

  async refusals(c) {
    const b = c.getBlockBlobClient('refusals');
    await b.upload('x', 1);
    await refused(new AppendBlobClient(c.url + '/append', shared, once).create(), 'FeatureNotSupported', 400);
    await refused(b.createSnapshot(), 'FeatureNotSupported', 400);
    await refused(b.setTags({ a: 'b' }), 'FeatureNotSupported', 400);
    await refused(b.setAccessTier('Cool'), 'FeatureNotSupported', 400);
    await refused(service.getBlobBatchClient().deleteBlobs([b]), 'FeatureNotSupported', 400);
    await refused(c.getBlobLeaseClient().acquireLease(15), 'FeatureNotSupported', 400);
    await refused(b.upload('x', 1, { tier: 'Cool' }), 'UnsupportedHeader', 400);
  },

  async checkpoints(c) {
    const a = new BlobCheckpointStore(c), z = new BlobCheckpointStore(c);
    const at = { fullyQualifiedNamespace: 'lake.servicebus.example', eventHubName: 'telemetry', consumerGroup: '$Default' };
    const claim = (ownerId, partitionId, etag) => ({ ...at, ownerId, partitionId, etag });
    const mine = await a.claimOwnership([claim('a', '0'), claim('a', '1')]);
    assert.equal(mine.length, 2);
    assert.equal((await z.claimOwnership([claim('z', '0', '"0x1"')])).length, 0, 'one that is owned');
    const two = await Promise.all([a, z].map((s, i) => s.claimOwnership([claim('az'[i], '1', mine[1].etag)])));
    assert.equal(two.flat().length, 1, 'of two with the same etag one gets it');
    const owners = await a.listOwnership(at.fullyQualifiedNamespace, at.eventHubName, at.consumerGroup);
    assert.deepEqual(owners.map((o) => o.partitionId).sort(), ['0', '1']);
    await a.updateCheckpoint({ ...at, partitionId: '0', offset: '42', sequenceNumber: 7 });
    await a.updateCheckpoint({ ...at, partitionId: '0', offset: '43', sequenceNumber: 8 });
    const [point] = await z.listCheckpoints(at.fullyQualifiedNamespace, at.eventHubName, at.consumerGroup);
    assert.deepEqual([String(point.offset), point.sequenceNumber], ['43', 8]);
  },
};

(async () => {
  let failed = 0;
  await Promise.all(Object.entries(cases).map(async ([name, run]) => {
    const c = service.getContainerClient('js-' + name);
    try {
      if (run.length > 0) await c.create();
      await run(c);
      console.log('ok ' + name);
    } catch (e) {
      failed++;
      console.log(`FAIL ${name}: ${e.stack}`);
    }
  }));
  process.exitCode = failed ? 1 : 0;
})();
