package checkpointstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/isthmus-io/isthmus/examples/checkpointstore"
)

// The namespace is in the environment: test/eventhubs runs this, beside the same for Node.js.
func TestStore(t *testing.T) {
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	s, err := checkpointstore.New(os.Getenv("EVENTHUB_CONNECTION_STRING"), &checkpointstore.Options{URL: os.Getenv("EVENTHUB_URL"), Client: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	const namespace, hub, group = "127.0.0.1", "telemetry", "for-go"
	ctx := t.Context()
	owner := func(partition, who string, tag *azcore.ETag) azeventhubs.Ownership {
		return azeventhubs.Ownership{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, OwnerID: who, ETag: tag}
	}
	claim := func(want int, list ...azeventhubs.Ownership) []azeventhubs.Ownership {
		t.Helper()
		got, err := s.ClaimOwnership(ctx, list, nil)
		if err != nil || len(got) != want {
			t.Fatalf("%+v, %v", got, err)
		}
		return got
	}
	if list, err := s.ListOwnership(ctx, namespace, hub, group, nil); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	first := claim(2, owner("0", "one", nil), owner("1", "one", nil))
	if o := first[1]; o.PartitionID != "1" || o.OwnerID != "one" || o.ETag == nil || time.Since(o.LastModifiedTime).Abs() > time.Minute || o.FullyQualifiedNamespace != namespace {
		t.Errorf("%+v", o)
	}
	claim(0, owner("0", "two", nil))
	second := claim(1, owner("0", "two", first[0].ETag), owner("1", "two", foreign(first)))
	claim(0, owner("0", "one", first[0].ETag))
	claim(1, owner("0", "", second[0].ETag))
	if list, err := s.ListOwnership(ctx, namespace, hub, group, nil); err != nil || len(list) != 2 || list[0].OwnerID != "" || list[1].OwnerID != "one" {
		t.Fatalf("%+v, %v", list, err)
	}

	offset, sequence := "0", int64(0)
	c := azeventhubs.Checkpoint{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: "1", Offset: &offset, SequenceNumber: &sequence}
	if err := s.SetCheckpoint(ctx, c, nil); err != nil {
		t.Fatal(err)
	}
	list, err := s.ListCheckpoints(ctx, namespace, hub, group, nil)
	if err != nil || len(list) != 1 || list[0].PartitionID != "1" || *list[0].Offset != "0" || *list[0].SequenceNumber != 0 || list[0].EventHubName != hub {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.ListCheckpoints(ctx, namespace, hub, "nobody", nil); err == nil {
		t.Error("a group that is not there has checkpoints")
	}
	if err := s.SetCheckpoint(ctx, azeventhubs.Checkpoint{EventHubName: hub, ConsumerGroup: group, PartitionID: "1"}, nil); err == nil {
		t.Error("a checkpoint of nothing is one")
	}
}

// foreign is an etag of another partition's record, with which nothing is claimed.
func foreign(list []azeventhubs.Ownership) *azcore.ETag { return list[0].ETag }
