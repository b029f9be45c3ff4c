// Package storage holds a blob service against the clients that people have: @azure/storage-blob and the checkpoint store of
// @azure/event-hubs in Node.js, azblob, azeventhubs' checkpoint store and gocloud.dev/blob in Go, all as they are published.
package storage
