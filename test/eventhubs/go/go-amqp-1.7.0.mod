// Beside what the driver imports, go.sum has what Microsoft's own tests of azeventhubs do: go get -t of azeventhubs/v2 and azeventhubs/v2/internal
// brings it, go mod tidy would take it away.
module github.com/isthmus-io/isthmus/test/eventhubs/go

go 1.26.0

require (
	github.com/Azure/azure-sdk-for-go/sdk/azcore v1.20.0
	github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2 v2.0.2
	github.com/Azure/azure-sdk-for-go/sdk/storage/azblob v1.6.3
	github.com/Azure/go-amqp v1.7.0
	github.com/coder/websocket v1.8.14
)

require (
	github.com/Azure/azure-sdk-for-go/sdk/internal v1.11.2 // indirect
	golang.org/x/net v0.47.0 // indirect
	golang.org/x/text v0.31.0 // indirect
)
