package eventhub

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
)

// Kinds of tokens, as clients name them when they put one (Event Hubs: AMQP protocol guide, claims-based security).
const (
	TokenSAS = "servicebus.windows.net:sastoken"
	TokenJWT = "jwt"
)

// MaxMessage is the largest event, in bytes, as its sender encoded it (Event Hubs: quotas, standard tier).
const MaxMessage = 1 << 20

// DefaultGroup is the consumer group every event hub has.
const DefaultGroup = "$Default"

// Directory is what one connection may see: a namespace, or an IoT hub's built-in endpoint. Safe for concurrent use.
type Directory interface {
	// HostNames returns the names it answers to, in lower case.
	HostNames() []string
	// Prove checks a token of one of the kinds above. Unauthenticated when it is not signed by a key that is known, Expired, NotFound when
	// it is for something that is not here; each with the words Azure's service has for it.
	Prove(ctx context.Context, kind, token string) (Claim, error)
	// ProveKey checks a policy's key itself (SASL PLAIN). Unauthenticated.
	ProveKey(ctx context.Context, policy, key string) (Claim, error)
	// Entity returns an event hub by its name, in any case. NotFound; Conflict, because of [ErrDisabled], when it is disabled.
	Entity(ctx context.Context, name string) (Entity, error)
}

// Entity is one event hub as whoever has a claim for it may use it. Nothing here asks for claims. Safe for concurrent use.
type Entity interface {
	Name() string // as it was spelled when it was made
	Created() time.Time
	Partitions() int
	// Info is where a partition stands. NotFound when there is no such partition, as everywhere below.
	Info(partition int) (eventlog.Info, error)
	// Append stores events, all or none; see eventlog.Log.AppendBatch. The batch's Stream is left empty. Denied where events come from
	// devices only.
	Append(b eventlog.Batch, done func(eventlog.Position, error))
	// RegisterProducer begins, or goes on with, a sequence of events that are stored once however often they are sent.
	RegisterProducer(ctx context.Context, partition int, known eventlog.Producer) (eventlog.Producer, error)
	// Scan reads events of a partition without copying them; see eventlog.Log.Scan.
	Scan(ctx context.Context, partition int, from int64, limit int, f func(*eventlog.View) bool) error
	// Wait returns nil when the partition has an event with this sequence number or a later one.
	Wait(ctx context.Context, partition int, from int64) error
	// SeekTime and SeekOffset return the sequence number of the first event kept that is not before a time or an offset.
	SeekTime(partition int, t time.Time) (int64, error)
	SeekOffset(partition int, offset int64) (int64, error)
	// Group returns how a consumer group is spelled. NotFound.
	Group(ctx context.Context, name string) (string, error)
	// MaxMessage is the largest event in bytes, as its sender encoded it.
	MaxMessage() int
	// Gone is closed when the event hub was deleted or disabled: connections to it end.
	Gone() <-chan struct{}
	// Devices tells that its events come from devices of an IoT hub.
	Devices() bool
}
