package httpdoor

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	// batchType is the content type of several events in one request (Event Hubs REST: send batch events).
	batchType = "application/vnd.microsoft.servicebus.json"
	// propertyHeader begins the name of a header that is a property of the event.
	propertyHeader = "Isthmus-App-"

	maxBatchBody = 2 * eventhub.MaxMessage // as text some bytes take several
	// perEvent is what an event counts beside its body and its properties.
	perEvent = 64
)

// brokerJSON is the header BrokerProperties, of which only the key means something here.
type brokerJSON struct {
	PartitionKey string
}

// batchItem is one of several events. Bodies that are no text come in base64, which Azure's service does not know.
type batchItem struct {
	Body             string
	BodyBase64       []byte
	UserProperties   map[string]any
	BrokerProperties brokerJSON
	ContentType      string
}

// sentJSON says where the first of the events sent stands.
type sentJSON struct {
	Partition int   `json:"partition"`
	Sequence  int64 `json:"sequenceNumber"`
	Offset    int64 `json:"offset"`
	Events    int   `json:"events"`
}

// sendEvents stores the event, or the events, of a request, and answers once they are on the disk.
func sendEvents(x *exchange) error {
	b := eventlog.Batch{Partition: -1}
	var err error
	if len(x.args) > 1 {
		if b.Partition, err = x.partition(1); err != nil {
			return err
		}
	}
	if err := x.read(&b); err != nil {
		return err
	}
	if b.Partition >= 0 && b.Key != "" {
		return fault.New("httpdoor.sendEvents", fault.Invalid, "a partition and a partition key at once").Advise("the key decides the partition: send to /messages")
	}
	e, err := x.namespace.Entity(x.Context(), x.args[0])
	if err != nil {
		return err
	}
	type answer struct {
		at  eventlog.Position
		err error
	}
	answers := make(chan answer, 1)
	e.Append(b, func(at eventlog.Position, err error) { answers <- answer{at, err} })
	select {
	case a := <-answers:
		if fault.KindOf(a.err) == fault.Exhausted { // the disk: it is no quota, and passes
			return fault.Wrap("httpdoor.sendEvents", fault.Unavailable, a.err, "")
		}
		if a.err != nil {
			return a.err
		}
		x.write(http.StatusCreated, sentJSON{a.at.Partition, a.at.Sequence, a.at.Offset, len(b.Events)})
		return nil
	case <-x.Context().Done():
		return fault.New("httpdoor.sendEvents", fault.Timeout, "whoever sent it has gone; it may be stored or not").Because(x.Context().Err())
	}
}

// read reads the events of the request.
func (x *exchange) read(b *eventlog.Batch) error {
	op := "httpdoor.sendEvents"
	var broker brokerJSON
	if s := x.Header.Get("BrokerProperties"); s != "" {
		if err := json.Unmarshal([]byte(s), &broker); err != nil {
			return fault.Newf(op, fault.Invalid, "the header BrokerProperties is no JSON object: %v", err).Advise(`write it as {"PartitionKey":"press-4"}`)
		}
	}
	b.Key = broker.PartitionKey
	kind, _, _ := mime.ParseMediaType(x.Header.Get("Content-Type"))
	if kind == batchType {
		return x.readBatch(b)
	}
	body, err := x.body(eventhub.MaxMessage)
	if err != nil {
		return err
	}
	ev := eventlog.Event{Body: body}
	for name, values := range x.Header {
		if property, ok := strings.CutPrefix(name, propertyHeader); ok && len(values) > 0 {
			set(&ev.Properties, strings.ToLower(property), values[0])
		}
	}
	for name, header := range map[string]string{"content-type": "Content-Type", "content-encoding": "Content-Encoding"} {
		if v := x.Header.Get(header); v != "" {
			set(&ev.System, name, v)
		}
	}
	b.Events = []eventlog.Event{ev}
	return checkEvent(op, &ev)
}

func set(m *map[string]string, name, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[name] = value
}

func checkEvent(op string, ev *eventlog.Event) error {
	if n := sizeOf(ev); n > eventhub.MaxMessage {
		return fault.Newf(op, fault.TooLarge, "an event takes at most %d bytes, this one %d", eventhub.MaxMessage, n)
	}
	return nil
}

// sizeOf is what an event counts.
func sizeOf(ev *eventlog.Event) int {
	n := perEvent + len(ev.Body)
	for _, m := range []map[string]string{ev.Properties, ev.System} {
		for k, v := range m {
			n += len(k) + len(v)
		}
	}
	return n
}

// readBatch reads several events, which go to one partition, all or none.
func (x *exchange) readBatch(b *eventlog.Batch) error {
	op := "httpdoor.sendEvents"
	text, err := x.body(maxBatchBody)
	if err != nil {
		return err
	}
	var items []batchItem
	if err := json.Unmarshal(text, &items); err != nil {
		return fault.Newf(op, fault.Invalid, "the batch cannot be read: %v", err).Advise(`it is an array of {"Body":"text","UserProperties":{..},"BrokerProperties":{"PartitionKey":".."}}`)
	}
	if len(items) == 0 {
		return fault.New(op, fault.Invalid, "the batch is empty")
	}
	total := 0
	for i, item := range items {
		switch key := item.BrokerProperties.PartitionKey; {
		case i == 0 && key != "":
			b.Key = key
		case key != "" && key != b.Key: // one without is of the batch's
			return fault.New(op, fault.Invalid, "the events of a batch have several partition keys").Advise("send one batch for each key")
		}
		ev := eventlog.Event{Body: []byte(item.Body)}
		if item.BodyBase64 != nil {
			ev.Body = item.BodyBase64
		}
		for name, v := range item.UserProperties {
			value, err := plainText(v)
			if err != nil {
				return fault.Newf(op, fault.Invalid, "the property %.60q of event %d is no text, number or truth value", name, i)
			}
			set(&ev.Properties, name, value)
		}
		if item.ContentType != "" {
			set(&ev.System, "content-type", item.ContentType)
		}
		total += sizeOf(&ev)
		b.Events = append(b.Events, ev)
	}
	if total > eventhub.MaxMessage {
		return fault.Newf(op, fault.TooLarge, "a batch takes at most %d bytes, this one %d", eventhub.MaxMessage, total).Advise("send several smaller ones")
	}
	return nil
}

// plainText renders a property as readers get it.
func plainText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case float64, bool:
		b, err := json.Marshal(v)
		return string(b), err
	}
	return "", fault.New("httpdoor.plainText", fault.Invalid, "no plain value")
}
