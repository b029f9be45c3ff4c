package eventhubs

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	sdkModule  = "github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	liveSuite  = "azeventhubs"          // tests of what everybody uses
	livePieces = "azeventhubs/internal" // tests of the pieces it is made of
)

// live are Microsoft's own tests of azeventhubs that want a namespace: the module's, as they are published. Those with left out say why.
var live = []struct {
	suite, name string
	slow        bool // takes longer than a build may wait for
	again       bool // may fail once: it gives the SDK 1 ms, and takes it ill when the dial notices before the context that they are over
	left        string
}{
	{suite: liveSuite, name: "TestConsumerClient_Recovery"},
	{suite: liveSuite, name: "TestConsumerClient_RecoveryLink"},
	{suite: liveSuite, name: "TestConsumerClient_UsingWebSockets"},
	{suite: liveSuite, name: "TestConsumerClient_DefaultAzureCredential"},
	{suite: liveSuite, name: "TestConsumerClient_GetHubAndPartitionProperties"},
	{suite: liveSuite, name: "TestConsumerClient_Concurrent_NoEpoch"},
	{suite: liveSuite, name: "TestConsumerClient_SameEpoch_StealsLink"},
	{suite: liveSuite, name: "TestConsumerClient_LowerEpochsAreRejected"},
	{suite: liveSuite, name: "TestConsumerClient_NoPrefetch"},
	{suite: liveSuite, name: "TestConsumerClient_ReceiveEvents"},
	{suite: liveSuite, name: "TestConsumerClient_Detaches", left: "disables the event hub through Azure Resource Manager"},
	{suite: liveSuite, name: "TestConsumerClient_StartPositions"},
	{suite: liveSuite, name: "TestConsumerClient_StartPosition_Latest"},
	{suite: liveSuite, name: "TestConsumerClient_InstanceID"},
	{suite: liveSuite, name: "TestConsumerClientUsingCustomEndpoint", left: "wants nobody to listen on 127.0.0.1:5671, and says nothing to a server"},
	{suite: liveSuite, name: "TestConsumerClient_GeoReplication", left: "wants a namespace in two regions"},
	{suite: liveSuite, name: "TestProcessor_PartitionsAreReqlinquished"},
	{suite: liveSuite, name: "TestProcessor_Balanced"},
	{suite: liveSuite, name: "TestProcessor_Balanced_AcquisitionOnly"},
	{suite: liveSuite, name: "TestProcessor_Greedy_AcquisitionOnly"},
	{suite: liveSuite, name: "TestProcessor_Greedy"},
	{suite: liveSuite, name: "TestProcessor_Contention", slow: true},
	{suite: liveSuite, name: "TestProcessor_RunNotConcurrent"},
	{suite: liveSuite, name: "TestProcessor_Run", again: true},
	{suite: liveSuite, name: "TestProducerClient_SAS"},
	{suite: liveSuite, name: "TestClientsUnauthorizedCreds"},
	{suite: liveSuite, name: "TestProducerClient_GetHubAndPartitionProperties"},
	{suite: liveSuite, name: "TestProducerClient_GetEventHubsProperties"},
	{suite: liveSuite, name: "TestProducerClient_SendToAny"},
	{suite: liveSuite, name: "TestProducerClient_AMQPAnnotatedMessages"},
	{suite: liveSuite, name: "TestProducerClient_SendBatchExample"},
	{suite: liveSuite, name: "TestProducerClientUsingCustomEndpoint", left: "as the other test of custom endpoints"},
	{suite: livePieces, name: "TestLinksCBSLinkStillOpen"},
	{suite: livePieces, name: "TestLinksRecoverLinkWithConnectionFailure"},
	{suite: livePieces, name: "TestLinksRecoverLinkWithConnectionFailureAndExpiredContext"},
	{suite: livePieces, name: "TestLinkFailureWhenConnectionIsDead"},
	{suite: livePieces, name: "TestLinkFailure"},
	{suite: livePieces, name: "TestLinksManagementRetry"},
	{suite: livePieces, name: "TestRecoveryWithCancelledContext_Link"},
	{suite: livePieces, name: "TestRecoveryWithCancelledContext_Connection"},
}

// liveCases are the cases that tests of Microsoft's are proofs of; each is a proof of EH03.
var liveCases = map[string]string{
	"TestConsumerClient_UsingWebSockets": "EH01", "TestConsumerClient_DefaultAzureCredential": "EH09", "TestConsumerClient_GetHubAndPartitionProperties": "EH11",
	"TestConsumerClient_Concurrent_NoEpoch": "EH20", "TestConsumerClient_SameEpoch_StealsLink": "EH20", "TestConsumerClient_LowerEpochsAreRejected": "EH21",
	"TestConsumerClient_NoPrefetch": "EH18", "TestConsumerClient_ReceiveEvents": "EH18", "TestConsumerClient_StartPositions": "EH17",
	"TestConsumerClient_StartPosition_Latest": "EH17", "TestConsumerClient_InstanceID": "EH20", "TestProcessor_PartitionsAreReqlinquished": "EH27",
	"TestProcessor_Balanced_AcquisitionOnly": "EH27", "TestProcessor_Greedy_AcquisitionOnly": "EH27", "TestProcessor_RunNotConcurrent": "EH27", "TestProcessor_Balanced": "EH27",
	"TestProcessor_Greedy": "EH27", "TestProcessor_Contention": "EH27", "TestProcessor_Run": "EH27", "TestProducerClient_SAS": "EH09", "TestClientsUnauthorizedCreds": "EH08",
	"TestProducerClient_GetHubAndPartitionProperties": "EH11", "TestProducerClient_GetEventHubsProperties": "EH11", "TestProducerClient_SendToAny": "EH16",
	"TestProducerClient_AMQPAnnotatedMessages": "EH15", "TestProducerClient_SendBatchExample": "EH13", "TestLinksManagementRetry": "EH11",
}

// TestMicrosoft runs Microsoft's live tests. They dial the ports that cannot be told otherwise, so the namespace has a loopback address of its
// own, and each test has an event hub of its own.
func TestMicrosoft(t *testing.T) {
	t.Parallel()
	w := start(t, options{azure: true})
	address := w.address
	blobs := w.storage(t)
	listen, send := w.policy(t, "ListenOnly", "Listen"), w.policy(t, "SendOnly", "Send")
	for _, l := range live {
		if l.left != "" || l.slow && !soaking() {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			id := liveCases[l.name]
			if id == "" {
				id = "EH03"
			}
			if !l.slow { // the page is the same whether they run or not
				covers(t, id, microsoft)
			}
			pkg := sdkModule + strings.TrimPrefix(l.suite, liveSuite)
			program := build(t, strings.ReplaceAll(l.suite, "/", "-")+".test", pkg, "test", "-c")
			hub, own := w.hub(t, 4), w.hub(t, 1)
			env := append(os.Environ(),
				"EVENTHUB_NAMESPACE="+address, "EVENTHUB_NAME="+hub, "EVENTHUB_LINKSONLY_NAME="+own, "RESOURCE_GROUP=none", "AZURE_SUBSCRIPTION_ID=none",
				"EVENTHUB_CONNECTION_STRING="+w.at(address, "", rootPolicy, w.key(t, "", rootPolicy)),
				"EVENTHUB_CONNECTION_STRING_LISTEN_ONLY="+w.at(address, "", "ListenOnly", listen),
				"EVENTHUB_CONNECTION_STRING_SEND_ONLY="+w.at(address, "", "SendOnly", send),
				"CHECKPOINTSTORE_STORAGE_ENDPOINT="+blobs.url, "SSL_CERT_FILE="+trustBoth(t, w.ca, blobs.ca), "SSL_CERT_DIR="+t.TempDir(),
			)
			if l.name == "TestConsumerClient_UsingWebSockets" { // it dials port 443, which not everybody may listen on
				env = append(env, "EVENTHUB_NAMESPACE="+w.namespace, "HTTPS_PROXY=http://"+proxy(t, w.wss))
			}
			run := func() ([]byte, bool) {
				c := exec.Command(program, "-test.run", "^"+l.name+"$", "-test.v", "-test.timeout", "5m")
				c.Dir, c.Env = t.TempDir(), env
				out, err := c.CombinedOutput()
				return out, err == nil && bytes.Contains(out, []byte("--- PASS: "+l.name))
			}
			out, ok := run()
			if !ok && l.again {
				out, ok = run()
			}
			if !ok {
				t.Errorf("%s", out[max(0, len(out)-8000):])
			}
		})
	}
}

// proxy is a proxy for HTTPS that leads to one address, whatever it is asked for.
func proxy(t *testing.T, to string) string {
	t.Helper()
	var all sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1) // as long as the connection is the server's, which waits for those it has
		defer all.Done()
		far, err := net.Dial("tcp", to)
		if err != nil || r.Method != http.MethodConnect {
			http.Error(w, fmt.Sprint(r.Method, " ", err), http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = far.Close()
			return
		}
		splice(near, far)
	}))
	t.Cleanup(func() { // whoever came through it has ended
		s.Close()
		all.Wait()
	})
	return s.Listener.Addr().String()
}

// soaking tells whether there is time for what takes minutes.
func soaking() bool { return os.Getenv("ISTHMUS_SOAK") != "" }

// trustBoth is a file with several authorities.
func trustBoth(t *testing.T, files ...string) string {
	t.Helper()
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, b...), '\n')
	}
	path := filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// liveText is the part of the page about tests that do not run here.
func liveText() string {
	var b strings.Builder
	ran, slow := 0, 0
	for _, l := range live {
		switch {
		case l.left != "":
		case l.slow:
			slow++
		default:
			ran++
		}
	}
	fmt.Fprintf(&b, `
## Microsoft's own live tests

The module azeventhubs/v2 comes with %d tests that want a namespace of Azure. %d of them run in `+"`make test`"+`, unmodified, and %d more, which takes minutes, in `+"`make soak`"+`.
These do not run:

| Test | Why |
|---|---|
`, len(live), ran, slow)
	for _, l := range live {
		if l.left != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", l.name, l.left)
		}
	}
	return b.String()
}
