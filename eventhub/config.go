package eventhub

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

// Config is how a server is made. Dir or Database must be given; every other field's zero value works.
type Config struct {
	Dir      string // data directory: everything but events is kept in Dir/eventhubs.db
	Database string // where it is kept instead, e.g. postgres://...
	MaxPages int    // bounds eventhubs.db, in pages of 4 KiB; 0 leaves it to the disk

	// Tokens checks tokens of an identity provider for a namespace; see package eventhub/bearer. nil refuses all of them.
	Tokens func(ctx context.Context, namespace Spec, token string) (Identity, error)

	// Workloads checks tokens of workloads; nil refuses all of them.
	Workloads *workload.Verifier

	// TestToken is a token that stands for every right in every namespace, whatever it says otherwise. It is for tests of clients that
	// cannot be given another one, and for nothing else: whoever knows it may do everything. Every namespace that is served with it says
	// so in the log. Empty: there is none.
	TestToken string
}

func (c Config) withDefaults() Config {
	if c.Database == "" && c.Dir != "" {
		c.Database = c.Dir + "/eventhubs.db"
	}
	return c
}

// Identity is whom a token of an identity provider is about, and what that one may do.
type Identity struct {
	Who      string
	Rights   Right
	EventHub string // the only one meant; empty for the namespace
	Expires  time.Time
}

// Spec says which namespace is served, as its plan has it.
type Spec struct {
	ID        string              // uid of the service
	Name      string              // ot/ot-cloud/lake
	HostNames []string            // all it answers to; the first is the public name
	EventHubs []resource.EventHub // declared by the resource
	// Assignments are the roles of workloads, and KeysOff says that no shared key opens the namespace.
	Assignments []plan.Assignment
	KeysOff     bool
}

// Bounds of one namespace (Event Hubs: quotas).
const (
	MaxEventHubs = resource.MaxEventHubs
	MaxPolicies  = resource.MaxEventHubPolicies // of the namespace, and of each event hub
	MaxGroups    = resource.MaxEventHubGroups   // of an event hub, beside $Default

	DefaultPartitions = 4
	DefaultRetention  = 24 * time.Hour
	MinRetention      = time.Hour
	MaxRetention      = resource.MaxEventHubRetention * time.Hour
	MinRetentionBytes = resource.MinEventHubBytes
)

// key checks a name and returns the form in which it is compared (Event Hubs: naming rules).
func key(op, what, name string, longest int) (string, error) {
	bad := func(why string) (string, error) {
		return "", fault.Newf(op, fault.Invalid, "the %s's name %.60q %s", what, name, why).
			Advise("use 1 to %d letters, digits and . _ -, with a letter or digit at both ends", longest)
	}
	if name == "" {
		return bad("is empty")
	}
	if len(name) > longest {
		return bad("is too long")
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (strings.IndexByte("._-", c) < 0 || i == 0 || i == len(name)-1) {
			return bad("has a character where none like it may be")
		}
	}
	return strings.ToLower(name), nil
}

const (
	maxName  = 256
	maxGroup = 50
)

func hubKey(op, name string) (string, error)    { return key(op, "event hub", name, maxName) }
func policyKey(op, name string) (string, error) { return key(op, "policy", name, maxName) }

func groupKey(op, name string) (string, error) {
	if strings.EqualFold(name, DefaultGroup) {
		return strings.ToLower(DefaultGroup), nil
	}
	return key(op, "consumer group", name, maxGroup)
}

// checkRetention refuses what no event hub can have.
func checkRetention(op string, age time.Duration, bytes int64) error {
	if age < MinRetention || age > MaxRetention {
		return fault.Newf(op, fault.Invalid, "an event hub cannot keep events for %s", age).Advise("1 hour to %d hours", int(MaxRetention.Hours()))
	}
	if bytes != 0 && bytes < MinRetentionBytes {
		return fault.Newf(op, fault.Invalid, "a partition cannot hold %d bytes", bytes).Advise("%d or more, or 0 for no such limit", MinRetentionBytes)
	}
	return nil
}

func checkPartitions(op string, n int) error {
	if n < 1 || n > eventlog.MaxPartitions {
		return fault.Newf(op, fault.Invalid, "an event hub cannot have %d partitions", n).Advise("1 to %d", eventlog.MaxPartitions)
	}
	return nil
}
