// Package storage holds a blob service against the clients that people have: @azure/storage-blob and the checkpoint store of
// @azure/event-hubs in Node.js, azblob and gocloud.dev/blob in Go, all as they are published. What the processors of both Event Hubs SDKs do
// with it is in test/eventhubs.
package storage
