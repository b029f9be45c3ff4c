package amqpdoor

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// manage answers a request to $management.
func (v *Conversation) manage(ctx context.Context, m *amqp.Message) *amqp.Message {
	body, err := v.read(ctx, m)
	answer := &amqp.Message{HasValue: true, ApplicationProperties: amqp.Map{{Key: "status-code", Value: int32(200)}, {Key: "status-description", Value: "OK"}}}
	if err == nil {
		answer.Value = body
		return answer
	}
	e := condition(err)
	answer.ApplicationProperties = amqp.Map{
		{Key: "status-code", Value: status(err)}, {Key: "status-description", Value: e.Description}, {Key: "error-condition", Value: e.Condition},
	}
	return answer
}

func (v *Conversation) read(ctx context.Context, m *amqp.Message) (amqp.Map, error) {
	get := func(name string) string {
		s, _ := amqptext.Text(m.ApplicationProperties.Get(name))
		return s
	}
	if operation := get("operation"); !strings.EqualFold(operation, "READ") {
		return nil, fault.Newf("amqpdoor", fault.Invalid, "The operation '%.100s' is not known: it is READ.", operation)
	}
	name := strings.Trim(pathOf(get("name")), "/")
	if name == "" || len(name) > maxAddress {
		return nil, fault.New("amqpdoor", fault.Invalid, "The application property name is that of an event hub.")
	}
	if err := v.mayRead(ctx, name, get("security_token")); err != nil {
		return nil, err
	}
	e, err := v.dir.Entity(ctx, name)
	if err != nil {
		return nil, err
	}
	switch kind := get("type"); kind {
	case "com.microsoft:eventhub":
		return describe(e, kind), nil
	case "com.microsoft:partition":
		return describePartition(e, kind, get("partition"))
	default:
		return nil, fault.Newf("amqpdoor", fault.Invalid, "The type '%.100s' is not known: it is com.microsoft:eventhub or com.microsoft:partition.", kind)
	}
}

// mayRead tells whether somebody may know of an event hub: whoever may do anything with it. The token of the request decides; without one, what
// the connection has proved.
func (v *Conversation) mayRead(ctx context.Context, name, token string) error {
	path := strings.ToLower(name)
	if token != "" {
		kind := eventhub.TokenJWT
		if strings.HasPrefix(token, "SharedAccessSignature") {
			kind = eventhub.TokenSAS
		}
		c, err := v.dir.Prove(ctx, kind, token)
		if err != nil {
			return err
		}
		if coversAny(c, path) {
			v.mu.Lock()
			v.known()
			v.mu.Unlock()
			return nil
		}
	} else {
		for _, r := range everyRight {
			if v.allowed(path, r) {
				return nil
			}
		}
	}
	return v.unauthorized(path, eventhub.Listen)
}

func describe(e eventhub.Entity, kind string) amqp.Map {
	ids := make([]any, e.Partitions())
	for i := range ids {
		ids[i] = partitionID(i)
	}
	return amqp.Map{
		{Key: "name", Value: e.Name()}, {Key: "type", Value: kind}, {Key: "created_at", Value: amqpevent.Millis(e.Created())},
		{Key: "partition_count", Value: int32(len(ids))}, {Key: "partition_ids", Value: amqp.Array{Items: ids}},
		{Key: "georeplication_factor", Value: int32(1)}, // off; some clients fail without it
	}
}

func describePartition(e eventhub.Entity, kind, text string) (amqp.Map, error) {
	n := number(text)
	if n < 0 || n >= e.Partitions() {
		return nil, fault.Newf("amqpdoor", fault.NotFound, "The messaging entity '%s/Partitions/%.20s' could not be found.", e.Name(), text)
	}
	info, err := e.Info(n)
	if err != nil {
		return nil, err
	}
	return amqp.Map{
		{Key: "name", Value: e.Name()}, {Key: "type", Value: kind}, {Key: "partition", Value: text},
		{Key: "begin_sequence_number", Value: info.First}, {Key: "last_enqueued_sequence_number", Value: info.Next - 1},
		{Key: "last_enqueued_offset", Value: offsetText(info.LastOffset)}, {Key: "last_enqueued_time_utc", Value: amqpevent.Millis(info.LastEnqueued)},
		{Key: "is_partition_empty", Value: info.First >= info.Next},
	}, nil
}
