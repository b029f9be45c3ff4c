package isthmus_test

import (
	"slices"
	"strings"
	"testing"
)

// A rule says what the packages in may, or may not, import of this repository. "x/..." is x and what is below it.
type rule struct {
	in      string
	except  []string // rooms in it that have rules of their own
	only    []string // all they may import; nil means no such limit
	never   []string // what they may not import
	because string
}

var rules = []rule{
	{in: "fault", only: []string{}, because: "everybody imports it, so it can import nobody"},
	{in: "clock", only: []string{}, because: "everybody imports it, so it can import nobody"},
	{in: "backoff", only: []string{"clock"}, because: "it counts failures; of what is the caller's business"},
	{in: "keepfile", only: []string{}, because: "what the files are, and what to say when one cannot be written, is the caller's business"},
	{in: "throttle", only: []string{"clock"}, because: "it counts; what is counted, and what to say about it, is the door's"},
	{in: "resource", only: []string{"fault"}, because: "rules of the nouns must be testable without anything else, and usable everywhere"},
	{in: "plan", only: []string{"fault", "resource"}, because: "a plan is data between control and members; neither may leak into it"},
	{in: "access/streamkey", only: []string{}, because: "the control plane and hubs make the same keys with it, and meet in nothing else"},
	{in: "identity", only: []string{"fault"}, because: "who a process is does not depend on what it does"},
	{in: "wire/...", except: []string{"wire/amqp/client", "wire/amqp/engine", "wire/amqp/exchange", "wire/amqp/cbs", "wire/amqp/amqptext", "wire/amqp/amqptest"}, only: []string{"fault"},
		because: "a codec turns bytes into structs; what they mean is decided elsewhere, so each can be fuzzed and reused alone"},
	{in: "wire/amqp/...", only: []string{"clock", "fault", "wire/amqp/..."}, because: "a protocol's engine and the nodes every AMQP server has know no hub and no log"},
	{in: "wire/amqp/amqptest", only: []string{"wire/amqp"}, because: "it says what it is told, right or wrong, and must not share a server's mistakes"},
	{in: "wire/amqp/amqptext", only: []string{"fault", "wire/amqp"}, because: "it puts values into words, whoever sent them"},
	{in: "control/jointoken", only: []string{"fault"}, because: "members import it, and must not link the control plane for it"},

	{in: "workload", only: []string{"clock", "fault", "identity", "plan", "resource"}, because: "agents make tokens and every served service checks them; none of them gets more with it"},

	{in: "link/...", never: []string{"control/...", "store/...", "hub/...", "eventlog/...", "membership/..."},
		because: "data flows while the control plane is away, and links carry other people's services as well as ours"},
	{in: "resolver/...", never: []string{"control/...", "store/...", "link/...", "membership/..."}, because: "it answers from a view and asks nobody of the house"},
	{in: "resolver/view", only: []string{"plan", "resource", "resolver/message"}, because: "it decides, and asks nobody; the control plane explains with it what resolvers would do"},
	{in: "resolver/cache", only: []string{"clock", "resolver/message"}, because: "it keeps answers; whom they are of and who gets them is the resolver's business"},
	{in: "resolver/upstream", only: []string{"clock", "fault"}, because: "it asks servers; which question goes to whom is decided by those who answer"},
	{in: "gateway/...", never: []string{"control/...", "store/...", "membership/...", "hub/...", "agent", "resolver/..."}, because: "it carries out plans; it asks nobody of the house for anything"},
	{in: "gateway/carry", never: []string{"gateway", "gateway/allowlist", "gateway/decide", "gateway/limit", "gateway/balance", "plan", "resource"},
		because: "bytes pass by decisions it does not know"},
	{in: "render", only: []string{"fault", "gateway/allowlist", "gateway/decide", "plan", "resource"}, because: "text from data; it asks nobody"},
	{in: "resolver/zonefile", only: []string{"fault", "resource"}, because: "it reads text"},
	{in: "resolver/asker", only: []string{"clock", "fault", "resolver"}, because: "it is a client: what it knows of a resolver it was told by it"},
	{in: "gateway/allowlist", only: []string{"plan", "resource"}, because: "rules must be the same for whoever asks, and testable without a network"},
	{in: "gateway/decide", only: []string{"fault", "resource", "plan", "gateway/allowlist"},
		because: "what a gateway does with a connection is one pure function, for the data plane, for those who explain it and for other products' configurations"},
	{in: "gateway/limit", only: []string{"clock", "resource"}, because: "it counts; what is counted, and what to say about it, is the gateway's"},
	{in: "gateway/refusals", only: []string{"clock"}, because: "it keeps account of what others decided"},
	{in: "gateway/balance", only: []string{"clock", "fault", "resource", "wire/proxyproto"}, because: "it knows targets, and not who is led to them"},
	{in: "gateway/handover", only: []string{"fault", "localsocket"}, because: "it passes sockets; what is behind them is the gateway's business"},
	{in: "localsocket", only: []string{"fault"}, because: "what answers behind the socket is the caller's business"},
	{in: "gateway/gatewayclient", only: []string{"fault", "gateway", "gateway/decide"}, because: "it is a client: what it knows of a gateway it was told by it"},
	{in: "agent", never: []string{"control/...", "store/...", "hub/...", "membership/..."}, because: "it carries out plans; where they come from is node's business"},
	{in: "membership", never: []string{"control", "control/httpdoor", "store/...", "link/...", "agent/...", "hub/..."},
		because: "agents, hubs and relays belong to a deployment in the same way, and meet the control plane over the wire only"},

	{in: "access/grant", only: []string{"fault", "resource"}, because: "the life of a grant is rules; the control plane keeps grants, and asks"},
	{in: "access/session", only: []string{"fault"}, because: "members tell the control plane of sessions in these words, and meet in nothing else"},
	{in: "access/sshca", only: []string{"fault"}, because: "it signs; whom is decided by the control plane"},
	{in: "access/recording", only: []string{"clock", "fault"}, because: "it writes down and plays; what is recorded, and who may see it, is decided elsewhere"},
	{in: "access/webhook", only: []string{"clock", "fault"}, because: "receivers import it to verify what they got"},
	{in: "access/gate", only: []string{"access/gate/share", "access/session", "clock", "fault", "identity", "link/flow", "link/mux", "plan", "resource", "throttle", "wire/tunnel"},
		because: "it decides by the plan, and asks nobody"},
	{in: "access/gate/share", only: []string{}, because: "it shares numbers; whose they are is the gate's business"},
	{in: "access/journal", never: []string{"control/...", "store/...", "link/...", "membership/..."}, because: "it keeps what happened until somebody takes it; who that is, and how, is node's business"},
	{in: "access/sshproxy", never: []string{"control/...", "store/...", "membership/...", "link/..."}, because: "certificates come through functions it is given"},
	{in: "access/virtualdevice", only: []string{"backoff", "clock", "fault", "hub/sas", "resource", "wire/mqtt", "wire/socketstream"},
		because: "it is a device: what it knows of a hub is what devices are told"},
	{in: "access/dialer", never: []string{"control/...", "store/...", "membership/...", "hub/...", "agent"}, because: "a person's program knows a pass and a path"},
	{in: "signin/...", never: []string{"control/...", "store/...", "link/...", "client"}, because: "it reads tokens of others; what they are good for here is decided by the control plane"},
	{in: "agreement", only: []string{"fault", "identity", "resource"}, because: "whoever checks a contract needs nothing of those who keep it"},
	{in: "audit", only: []string{"fault", "identity"}, because: "whoever checks the audit log needs nothing of those who wrote it"},
	{in: "audit/syslog", only: []string{"audit", "clock", "fault"}, because: "it says records in another language; which ones, and until when, is the caller's business"},
	{in: "store", only: []string{"access/grant", "access/session", "audit", "fault", "resource", "store/database"}, because: "it keeps nouns; who may change them is control's business"},
	{in: "store/hubstore", only: []string{"fault", "hub/query", "hub/twin", "store/database"},
		because: "it keeps what hubs have, and answers queries about it; who may change it is the hub's business"},
	{in: "store/provisioningstore", only: []string{"fault", "store/database"}, because: "it keeps enrollments; who may change them is the provisioning service's business"},
	{in: "store/database/...", only: []string{"fault"}, because: "it opens databases; what is in them is the business of those who bring a schema"},
	{in: "control", never: []string{"control/httpdoor", "link/...", "hub/...", "wire/...", "eventlog/...", "membership/...", "node/..."},
		because: "decisions know no door, no wire and none of those who carry them out"},
	{in: "control/httpdoor", never: []string{"store/..."}, because: "a door translates; it decides nothing and keeps nothing"},

	{in: "hub", never: []string{"wire/...", "hub/front", "hub/mqttdoor", "hub/httpdoor", "control/...", "link/..."},
		because: "the hub is the same behind every protocol; doors import it, it imports no door and no wire format"},
	{in: "hub/twin", only: []string{"fault"}, because: "documents and their rules must be testable without anything else, and usable by the store"},
	{in: "hub/code", only: []string{"fault"}, because: "names of refusals are for every room and every door"},
	{in: "hub/query", only: []string{"fault"}, because: "it reads a language; whoever answers it brings the facts"},
	{in: "hub/route", only: []string{"fault", "hub/query"}, because: "it decides where a message goes; who carries it there is the hub's business"},
	{in: "hub/limit", only: []string{"clock", "fault"}, because: "it counts; what is counted, and what to say about it, is the hub's"},
	{in: "hub/registryfile", only: []string{"fault", "hub", "store/hubstore"}, because: "it reads and writes lines"},
	{in: "hub/azureexport", only: []string{"fault", "hub", "hub/registryfile"}, because: "it reads files; what becomes of what they hold is decided elsewhere"},
	{in: "hub/parity", only: []string{"fault", "hub", "hub/azureexport", "hub/configuration", "hub/hubclient", "hub/route", "hub/twin", "provisioning", "store/hubstore"},
		because: "it judges by the rules of the rooms, and asks no hub"},
	{in: "hub/migration", never: []string{"hub/front", "hub/mqttdoor", "hub/httpdoor", "store/...", "node/...", "link/...", "control/..."},
		because: "a hub is filled over its API, wherever it is"},
	{in: "hub/job", never: []string{"hub/front", "hub/mqttdoor", "hub/httpdoor", "control/...", "link/..."}, because: "jobs use the hub as a door does, and know no door"},
	{in: "hub/configuration", never: []string{"hub/front", "hub/mqttdoor", "hub/httpdoor", "control/...", "link/..."}, because: "as with jobs"},
	{in: "hub/forward", never: []string{"hub/front", "hub/mqttdoor", "hub/httpdoor", "control/...", "link/..."}, because: "as with jobs"},
	{in: "provisioning", only: []string{"clock", "fault", "hub/sas", "provisioning/tpm", "store/provisioningstore", "throttle"},
		because: "it decides who a device is and where it belongs; hubs are reached through an interface, devices through doors"},
	{in: "provisioning/mqttdoor", never: []string{"provisioning/httpdoor", "store/...", "hub", "control/...", "link/..."}, because: "doors stand beside each other and hold no state"},
	{in: "provisioning/httpdoor", never: []string{"provisioning/mqttdoor", "wire/...", "store/...", "hub", "control/...", "link/..."}, because: "doors stand beside each other and hold no state"},
	{in: "provisioning/amqpdoor", only: []string{"clock", "fault", "provisioning", "wire/amqp/..."}, because: "doors stand beside each other and hold no state"},
	{in: "provisioning/tpm", only: []string{"fault"}, because: "it makes blobs a chip can open; for whom is decided elsewhere"},
	{in: "provisioning/provisioningclient", only: []string{"clock", "fault", "hub/caller", "hub/sas"}, because: "it is a client: what it knows of a service it was told by it"},
	{in: "provisioning/linkedhub", never: []string{"hub", "store/...", "node/..."}, because: "a hub elsewhere is met over its API only"},
	{in: "hub/mqttdoor", never: []string{"hub/httpdoor", "store/...", "link/...", "control/..."}, because: "doors stand beside each other and hold no state"},
	{in: "hub/httpdoor", never: []string{"hub/mqttdoor", "wire/mqtt", "link/...", "control/..."}, because: "doors stand beside each other and hold no state"},
	{in: "hub/amqpdoor", only: []string{"clock", "eventlog", "fault", "hub", "hub/code", "hub/expiry", "hub/front", "hub/limit", "hub/sas", "wire/amqp/...", "workload"},
		because: "doors stand beside each other and hold no state; what is no device's it gives away through functions"},
	{in: "hub/expiry", only: []string{"clock"}, because: "it tells when a time is over; whose it was is the door's business"},
	{in: "hub/servicedoor", only: []string{"clock", "fault", "hub", "hub/builtin", "hub/code", "hub/file", "wire/amqp/..."},
		because: "another door brings the connections and the claims"},
	{in: "store/eventhubstore", only: []string{"fault", "store/database"}, because: "it keeps what namespaces have; who may change it is their business"},
	{in: "eventhub", only: []string{"clock", "eventlog", "fault", "hub/sas", "plan", "resource", "store/eventhubstore", "workload"},
		because: "namespaces are the same behind every protocol; doors and identity providers reach it, it reaches none of them"},
	{in: "eventhub/httpdoor", only: []string{"clock", "eventhub", "eventlog", "fault"}, because: "a door translates; what events mean in AMQP it is told by a function"},
	{in: "eventhub/bearer", only: []string{"clock", "eventhub", "fault", "signin"}, because: "it says who a token is about; what that one may do is the namespace's business"},
	{in: "eventhub/eventhubclient", only: []string{"backoff", "clock", "fault", "hub/caller", "hub/sas"}, because: "other people's programs import it and should get no namespace with it"},
	{in: "hub/builtin", only: []string{"eventhub", "eventlog", "fault", "hub", "hub/route", "hub/sas", "resource", "workload"}, because: "it shows what a hub has; doors bring those who look"},
	{in: "hub/caller", only: []string{"clock", "fault", "hub/sas"}, because: "it carries requests; what is asked and answered is the business of those who write clients"},
	{in: "hub/hubclient", only: []string{"backoff", "clock", "fault", "hub/caller", "hub/code", "hub/sas"}, because: "other people's programs import it and should get no hub with it"},
	{in: "hub/front", never: []string{"hub/mqttdoor", "hub/httpdoor", "store/...", "link/...", "control/..."}, because: "it brings connections to doors it does not know"},
	{in: "hub/file", never: []string{"hub/front", "hub/mqttdoor", "hub/httpdoor", "hub/blobdoor", "control/...", "link/..."}, because: "whose file it is does not depend on the door it comes through"},
	{in: "hub/blobdoor", only: []string{"clock", "fault", "hub", "hub/blob", "hub/file", "hub/intake", "wire/azureblob"}, because: "it translates one protocol, and another door brings the connections"},
	{in: "storage/...", never: []string{"control/...", "link/...", "node/...", "membership/..."}, because: "another door brings the connections"},
	{in: "hub/intake", only: []string{"fault", "wire/azureblob"}, because: "it takes bodies in; what becomes of them is decided by doors"},
	{in: "store/storagestore", only: []string{"fault", "store/database"}, because: "it keeps what blob services have; who may change it is their business"},
	{in: "storage", only: []string{"clock", "fault", "hub/blob", "hub/sas", "plan", "resource", "store/storagestore", "workload"},
		because: "accounts are the same behind every protocol; doors and those who check tokens reach it, it reaches none of them"},
	{in: "storage/httpdoor", only: []string{"clock", "fault", "hub/intake", "hub/sas", "storage", "wire/azureblob"}, because: "a door translates; it decides nothing and keeps nothing"},
	{in: "hub/blob", only: []string{"fault"}, because: "it keeps content; whose it is and who may have it is decided above"},
	{in: "simulate/connection", only: []string{"fault", "wire/amqp", "wire/mqtt"}, because: "it is a device's side of the wire; whose device, and what it sends, is the fleet's business"},
	{in: "simulate/provision", only: []string{"clock", "fault", "hub/sas"}, because: "it is a device, and knows of a service what devices do"},
	{in: "eventlog", only: []string{"clock", "fault"}, because: "a log knows no protocol and no hub"},
	{in: "eventlog/amqpevent", only: []string{"eventlog", "fault", "wire/amqp", "wire/amqp/amqptext"}, because: "it reads and writes events; whose they are is the door's business"},
	{in: "eventlog/amqpdoor", only: []string{"clock", "eventhub", "eventlog", "eventlog/amqpevent", "fault", "hub/expiry", "wire/amqp/..."},
		because: "a namespace and a hub's endpoint are the same to it, and somebody else brings the connections"},

	{in: "bridge", only: []string{"backoff", "bridge/checkpoint", "bridge/end", "bridge/event", "bridge/message", "clock", "fault", "plan", "resource"},
		because: "it moves events and knows no protocol; sources, destinations and functions come as interfaces"},
	{in: "bridge/event", only: []string{}, because: "all parts of a bridge meet in it, and in nothing else"},
	{in: "bridge/end", only: []string{"fault", "plan"}, because: "a part of a bridge reaches its end and nothing else"},
	{in: "bridge/message", only: []string{"bridge/event", "fault"}, because: "an expression sees an event and nothing else"},
	{in: "bridge/checkpoint", only: []string{"fault", "keepfile"}, because: "it keeps accounts; what stands in them is the bridge's business"},
	{in: "bridge/contract", only: []string{"bridge/checkpoint", "bridge/event", "bridge/message", "fault", "plan", "resource"},
		because: "what may cross is decided by the contract and the event, and by nothing else"},
	{in: "bridge/deadletter", only: []string{"bridge", "bridge/event", "clock", "fault", "keepfile", "resource"}, because: "what did not cross is kept beside the source and sent nowhere"},
	{in: "bridge/function", only: []string{"backoff", "bridge", "bridge/end", "bridge/event", "clock", "fault", "resource", "workload"},
		because: "other people's code is given events and reaches nothing of the house"},
	{in: "bridge/trial", only: []string{"bridge", "bridge/contract", "bridge/end", "bridge/event", "bridge/function", "bridge/window", "clock", "fault", "plan", "resource"},
		because: "it runs what a bridge runs, and has no source and no destination"},
	{in: "bridge/localdoor", only: []string{"bridge", "bridge/deadletter", "bridge/event", "bridge/function", "fault", "localsocket"}, because: "a door translates"},
	{in: "bridge/eventhubs", only: []string{"bridge", "bridge/end", "bridge/event", "clock", "eventlog", "eventlog/amqpevent", "fault", "hub/sas", "resource", "wire/amqp/..."},
		because: "it is one kind of end; what moves between ends, and why, is decided elsewhere"},
	{in: "bridge/column", only: []string{"bridge/event", "bridge/message", "fault", "resource"}, because: "values of rows are the same for windows and files"},
	{in: "bridge/window", only: []string{"bridge", "bridge/column", "bridge/event", "bridge/reference", "fault", "resource"},
		because: "rows depend on events and nothing else; who reads and sends is the bridge's business"},
	{in: "bridge/reference", only: []string{"bridge/azureblob", "bridge/column", "bridge/end", "clock", "fault", "resource"}, because: "it keeps tables; who joins with them is the window's business"},
	{in: "bridge/azureblob", only: []string{"bridge/end", "fault"}, because: "it reaches a service through an end; what is in the blobs is the caller's business"},
	{in: "bridge/files", only: []string{"bridge", "bridge/azureblob", "bridge/column", "bridge/end", "bridge/event", "bridge/window", "clock", "fault", "resource"},
		because: "it makes files of events; what may be in them was decided before"},
	{in: "bridge/partway", only: []string{"bridge/event"}, because: "it counts what a destination took; what that is, and how it was told, is the destination's"},
	{in: "bridge/kafka", only: []string{"bridge", "bridge/end", "bridge/event", "bridge/message", "bridge/partway", "clock", "fault", "resource"},
		because: "a destination reaches its service through its end and nothing else"},
	{in: "bridge/mqtt", only: []string{"bridge", "bridge/end", "bridge/event", "bridge/partway", "clock", "fault", "resource", "wire/mqtt"},
		because: "a destination reaches its service through its end and nothing else"},
	{in: "bridge/webhook", only: []string{"access/webhook", "bridge", "bridge/end", "bridge/event", "bridge/partway", "clock", "fault", "resource"},
		because: "a destination reaches its service through its end and nothing else"},

	{in: "manifest", only: []string{"fault", "resource"}, because: "it reads text; it never speaks to a server"},
	{in: "client", only: []string{"access/grant", "access/session", "audit", "clock", "fault", "identity", "plan", "resource"}, because: "other people's programs import it and should get nothing but the vocabulary"},
	{in: "node/...", never: []string{"cmd/...", "testworld", "test/...", "client", "manifest"}, because: "it builds rooms from configuration; reading commands is cmd's business"},
}

// Only these may import the composition root; were a room to do it, everything would import everything.
var composers = []string{"node/...", "cmd/...", "testworld", "demo", "bench"}

// Libraries that one room is there to hide.
var hidden = map[string][]string{
	"database/sql":                     {"store/database/..."},
	"modernc.org/sqlite":               {"store/database/..."},
	"github.com/jackc/pgx/v5":          {"store/database/..."},
	"github.com/cockroachdb/pebble":    {"eventhub/eventhubtest", "eventlog", "hub/hubtest"},
	"github.com/miekg/dns":             {"resolver/..."},
	"github.com/vishvananda/netlink":   {"agent"},
	"github.com/danielgtaylor/huma":    {"control/httpdoor"},
	"github.com/coder/websocket":       {"access/virtualdevice", "bench", "bridge/eventhubs", "hub/httpdoor", "simulate/connection", "test/eventhubs/go/driver", "wire/socketstream"},
	"github.com/coreos/go-oidc":        {"signin/..."},
	"github.com/go-jose/go-jose":       {"workload"},
	"filippo.io/age":                   {"access/recording"},
	"golang.org/x/crypto/ssh":          {"access/sshca/...", "access/sshproxy/...", "cmd/isthmus", "bench"},
	"github.com/HdrHistogram":          {"simulate"},
	"github.com/spf13/cobra":           {"cmd/..."},
	"github.com/redpanda-data/benthos": {"bench", "bridge", "bridge/message"},
	"github.com/twmb/franz-go":         {"bridge/kafka"},
	"github.com/tetratelabs/wazero":    {"bridge/function"},
	"github.com/charmbracelet/":        {"demo"},
	"github.com/parquet-go/parquet-go": {"bridge/files"},
	"github.com/aws/aws-sdk-go-v2":     {"bridge/files"},
	"gocloud.dev":                      {"bridge/files", "hub/blob"},
	"github.com/hashicorp/yamux":       {},
	"github.com/eclipse/paho.mqtt":     {},
	"github.com/rogpeppe/go-internal":  {},
	"pgregory.net/rapid":               {},
	"go.uber.org/goleak":               {"store/database/databasetest"},
}

// within tells whether dir is meant by one of the patterns.
func within(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutSuffix(p, "/..."); ok {
			return dir == below || strings.HasPrefix(dir, below+"/")
		}
		return dir == p
	})
}

// house is what p imports of this repository, as directories.
func (p *pkg) house() []string {
	var out []string
	for i := range p.imports {
		if dir, ok := strings.CutPrefix(i, module+"/"); ok {
			out = append(out, dir)
		}
	}
	slices.Sort(out)
	return out
}

func TestImportsGoOneWay(t *testing.T) {
	all := packages(t)
	for _, r := range rules {
		met := false
		for dir, p := range all {
			if !within(dir, []string{r.in}) || within(dir, r.except) {
				continue
			}
			met = true
			for _, i := range p.house() {
				if r.only != nil && !within(i, r.only) || within(i, r.never) {
					t.Errorf("%s imports %s: %s", dir, i, r.because)
				}
			}
		}
		if !met {
			t.Errorf("the rule for %q meets no package: take it away or correct it", r.in)
		}
	}
	for dir, p := range all {
		for _, i := range p.house() {
			if within(i, []string{"node/..."}) && !within(dir, composers) {
				t.Errorf("%s imports %s: only commands and worlds build rooms", dir, i)
			}
			if strings.HasPrefix(i, "cmd/") {
				t.Errorf("%s imports %s, a command", dir, i)
			}
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	for dir, p := range packages(t) {
		for i := range p.imports {
			for library, rooms := range hidden {
				if strings.HasPrefix(i, library) && !within(dir, rooms) {
					t.Errorf("%s imports %s, which only %v may", dir, i, rooms)
				}
			}
		}
	}
}

// reach is everything of the house that dir links, dir among it, and who imported each first.
func reach(all map[string]*pkg, dir string) map[string]string {
	from := map[string]string{dir: ""}
	for todo := []string{dir}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for _, i := range all[at].house() {
			if _, ok := from[i]; !ok && all[i] != nil {
				from[i] = at
				todo = append(todo, i)
			}
		}
	}
	return from
}

// The agent runs on small machines and in networks nobody trusts: neither the code that decides nor a database belongs there.
func TestTheSlimAgentIsSlim(t *testing.T) {
	all := packages(t)
	forbidden := []string{"store/...", "control", "control/httpdoor", "hub/...", "eventlog/...", "manifest", "client", "node", "testworld", "demo"}
	libraries := []string{"database/sql", "modernc.org/", "github.com/cockroachdb/", "github.com/jackc/", "github.com/danielgtaylor/", "github.com/charmbracelet/", "net/http/pprof"}
	for dir, from := range reach(all, "cmd/isthmus-agent") {
		if within(dir, forbidden) && dir != "hub/sas" { // which reads and makes tokens, and needs nothing of a hub
			t.Errorf("the agent links %s through %s", dir, from)
		}
		for i := range all[dir].imports {
			if slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(i, l) }) {
				t.Errorf("the agent links %s through %s", i, dir)
			}
		}
	}
}

// Package testing puts its flags into every program that links it.
func TestProgramsLinkNoTestCode(t *testing.T) {
	all := packages(t)
	for _, program := range []string{"cmd/isthmus", "cmd/isthmus-agent", "bench"} {
		for dir, from := range reach(all, program) {
			if all[dir].imports["testing"] {
				t.Errorf("%s links %s, which imports testing, through %s", program, dir, from)
			}
		}
	}
}
