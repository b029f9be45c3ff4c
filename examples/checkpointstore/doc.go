// Package checkpointstore is a checkpoint store for processors of azeventhubs that keeps checkpoints and ownerships in the namespace itself:
// no blob storage. It is an example to copy, and a module of its own, so that the product does not depend on the SDK.
//
//	store, err := checkpointstore.New(connectionString, nil)
//	processor, err := azeventhubs.NewProcessor(consumer, store, nil)
//
// The policy needs Listen. A Store starts no goroutine but those of its http.Client, and is safe for concurrent use.
package checkpointstore
