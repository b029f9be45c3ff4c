// Reads every blob of a container with the unmodified SDK: node bridge_blobs.js CONNECTION_STRING_FILE CONTAINER
// One JSON line for each, with its whole content.
'use strict';
const fs = require('fs');
const { BlobServiceClient } = require('@azure/storage-blob');

const [connectionFile, name] = process.argv.slice(2);
(async () => {
  const container = BlobServiceClient.fromConnectionString(fs.readFileSync(connectionFile, 'utf8').trim()).getContainerClient(name);
  for await (const b of container.listBlobsFlat()) {
    const content = await container.getBlobClient(b.name).downloadToBuffer();
    fs.writeSync(1, JSON.stringify({ name: b.name, content: content.toString() }) + '\n');
  }
})().catch((err) => { process.stderr.write(`${err.name}: ${err.message}\n`); process.exit(1); });
