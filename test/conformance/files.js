// Files from devices: the uploader inside azure-iot-device, and @azure/storage-blob with the URL that the hub grants.
'use strict';
const { Readable } = require('stream');
const crypto = require('crypto');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { AnonymousCredential, BlockBlobClient, newPipeline } = require('@azure/storage-blob');
const { say, goOn, step, run } = require('./lib.js');

const device = () => Client.fromConnectionString(process.env.DEVICE, Mqtt);
// content is the same for the test, which computes it again.
const content = (n) => { const b = Buffer.alloc(n); for (let i = 0; i < n; i++) b[i] = (i * 7 + (i >> 8)) & 255; return b; };
const pieces = (b) => { const list = []; for (let i = 0; i < b.length; i += 65536) list.push(b.subarray(i, i + 65536)); return Readable.from(list); };
const send = (name, n) => device().uploadToBlob(name, pieces(content(n)), n);
const at = (g) => new BlockBlobClient(`https://${g.hostName}/${g.containerName}/${g.blobName}${g.sasToken}`, newPipeline(new AnonymousCredential(), { retryOptions: { maxTries: 1 } }));
const outcome = (promise) => promise.then((r) => ({ status: r._response.status, request: !!r.requestId, etag: r.etag }), (e) => { const x = new Error(e.code || e.message); x.name = `${e.name} ${e.statusCode}`; throw x; });

run({
  async one() {
    await step('one', send('small.txt', 11));
  },

  async upload() {
    await step('small', send('small.txt', 11));
    await step('large', send('logs/2026/large file (1).bin', 9 * 1024 * 1024 + 5));
    await step('empty', send('empty', 0)); // refused by the SDK itself
    await step('too large', send('huge', 20 * 1024 * 1024));
    await step('bad name', send('../other/x', 5));
  },

  // what the hub grants, used by hand.
  async blob() {
    const client = device();
    const grant = await client.getBlobSharedAccessSignature('by hand/u%41.txt');
    say({ grant });
    const blob = at(grant);
    const md5 = crypto.createHash('md5').update('whole').digest();
    await step('put block', outcome(blob.stageBlock(Buffer.from('block-0').toString('base64'), 'first ', 6, { transactionalContentMD5: crypto.createHash('md5').update('first ').digest() })));
    await step('wrong MD5', outcome(blob.stageBlock(Buffer.from('block-1').toString('base64'), 'second', 6, { transactionalContentMD5: md5 })));
    await step('list with a block that is missing', outcome(blob.commitBlockList([Buffer.from('block-0').toString('base64'), Buffer.from('block-1').toString('base64')])));
    const list = await blob.getBlockList('uncommitted');
    say({ waiting: list.uncommittedBlocks });
    await step('the rest', outcome(blob.stageBlock(Buffer.from('block-1').toString('base64'), 'second', 6)));
    await step('list', outcome(blob.commitBlockList(list.uncommittedBlocks.map((b) => b.name).concat([Buffer.from('block-1').toString('base64')]), { blobHTTPHeaders: { blobContentType: 'text/plain', blobCacheControl: 'no-store' }, metadata: { line: '3' } })));
    await step('read with a grant for writing', outcome(blob.download()));
    await step('delete with it', outcome(blob.delete()));
    await step('done', client.notifyBlobUploadStatus(grant.correlationId, true, 201, 'by hand'));
    await step('done again', client.notifyBlobUploadStatus(grant.correlationId, true, 201, 'by hand'));
    await step('write after it is done', outcome(blob.upload('late', 4)));

    const whole = await client.getBlobSharedAccessSignature('whole');
    await step('put blob', outcome(at(whole).upload('whole', 5, { blobHTTPHeaders: { blobContentMD5: md5 } })));
    await step('only when there is none', outcome(at(whole).upload('again', 5, { conditions: { ifNoneMatch: '*' } })));
    await step('done', client.notifyBlobUploadStatus(whole.correlationId, true, 201, ''));

    const forged = { ...whole, blobName: 'other/x' };
    await step('another blob', outcome(at(forged).upload('x', 1)));
    for (let i = 0; i < 10; i++) await client.getBlobSharedAccessSignature(`open-${i}`);
    await step('the eleventh', client.getBlobSharedAccessSignature('open-10'));
  },

  async download() {
    const blob = new BlockBlobClient(await goOn(), newPipeline(new AnonymousCredential(), { retryOptions: { maxTries: 1 } }));
    const p = await blob.getProperties();
    say({ length: p.contentLength, type: p.contentType, kind: p.blobType, line: p.metadata.line, cache: p.cacheControl });
    const b = await blob.downloadToBuffer();
    say({ whole: b.toString() });
    const part = await blob.download(6, 3);
    const chunks = [];
    for await (const c of part.readableStreamBody) chunks.push(c);
    say({ part: Buffer.concat(chunks).toString(), status: part._response.status });
    await step('write with a link for reading', outcome(blob.upload('x', 1)));
  },
});
