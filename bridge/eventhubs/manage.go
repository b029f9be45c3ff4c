package eventhubs

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

const (
	maxPartitions = 2048
	askTime       = 20 * time.Second
)

// manager asks $management of an event hub, over a connection that it keeps.
type manager struct {
	access *access
	turn   chan struct{} // holds one: who has it may use the fields below
	conn   *connection
	asks   *client.Requester
	closed bool
}

func newManager(a *access) *manager { return &manager{access: a, turn: make(chan struct{}, 1)} }

// partitions lists the partitions of the event hub.
func (m *manager) partitions(ctx context.Context) ([]string, error) {
	answer, err := m.read(ctx, kindEventHub, "")
	if err != nil {
		return nil, err
	}
	return partitionsOf(answer, m.access)
}

// Types of READ requests.
const (
	kindEventHub  = "com.microsoft:eventhub"
	kindPartition = "com.microsoft:partition"
)

// partitionsOn lists the partitions over a connection.
func partitionsOn(ctx context.Context, a *access, c *connection) ([]string, error) {
	q, err := c.session.Requester(ctx, "$management")
	if err != nil {
		return nil, err
	}
	defer q.Close(ctx)
	answer, err := ask(ctx, a, c, q, kindEventHub, "")
	if err != nil {
		return nil, err
	}
	return partitionsOf(answer, a)
}

func partitionsOf(answer amqp.Map, a *access) ([]string, error) {
	var list []string
	switch ids := answer.Get("partition_ids").(type) {
	case amqp.Array:
		list = texts(ids.Items)
	case amqp.List:
		list = texts(ids)
	}
	if len(list) == 0 || len(list) > maxPartitions {
		return nil, fault.Newf("eventhubs.Partitions", fault.Unavailable, "the event hub behind %s does not tell its partitions", a.end.Name)
	}
	return list, nil
}

func texts(items []any) []string {
	var out []string
	for _, v := range items {
		if s, ok := v.(string); ok && s != "" && len(s) < 32 {
			out = append(out, s)
		}
	}
	return out
}

// bounds is what is known of a partition.
type bounds struct {
	first, next int64
	last        time.Time // zero: there never was an event
}

func (m *manager) bounds(ctx context.Context, partition string) (bounds, error) {
	answer, err := m.read(ctx, kindPartition, partition)
	if err != nil {
		return bounds{}, err
	}
	first, ok := amqptext.Integer(answer.Get("begin_sequence_number"))
	last, also := amqptext.Integer(answer.Get("last_enqueued_sequence_number"))
	if !ok || !also || last < -1 || first < -1 {
		return bounds{}, fault.Newf("eventhubs.Bounds", fault.Unavailable, "the event hub behind %s does not tell where partition %s ends", m.access.end.Name, partition)
	}
	b := bounds{first: max(first, 0), next: last + 1}
	if t, ok := answer.Get("last_enqueued_time_utc").(amqp.Timestamp); ok && t > 0 {
		b.last = amqptext.Time(t)
	}
	return b, nil
}

// read asks once, on the connection that there is or a new one.
func (m *manager) read(ctx context.Context, kind, partition string) (amqp.Map, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return nil, fault.Newf("eventhubs.Read", fault.Timeout, "%s did not answer in time", m.access.end.Name).Because(context.Cause(ctx))
	}
	fresh := m.conn == nil
	answer, err := m.try(ctx, kind, partition)
	if err != nil && m.conn == nil && !fresh && !m.closed && ctx.Err() == nil { // the connection had gone meanwhile
		answer, err = m.try(ctx, kind, partition)
	}
	return answer, explain(err)
}

// try drops the connection when it is of no more use.
func (m *manager) try(ctx context.Context, kind, partition string) (amqp.Map, error) {
	if m.closed {
		return nil, fault.Newf("eventhubs.Read", fault.Unavailable, "the end %s is closed", m.access.end.Name)
	}
	if m.conn == nil {
		c, err := m.access.connect(ctx)
		if err != nil {
			return nil, err
		}
		m.conn = c
		if m.asks, err = c.session.Requester(ctx, "$management"); err != nil {
			m.drop()
			return nil, err
		}
	}
	answer, err := ask(ctx, m.access, m.conn, m.asks, kind, partition)
	if _, refused := errors.AsType[*refusal](err); err != nil && !refused {
		m.drop()
	}
	return answer, err
}

// refusal is an answer that says no: there is nothing wrong with the way.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// ask sends one request to $management (Event Hubs: AMQP protocol guide, management operations).
func ask(ctx context.Context, a *access, c *connection, q *client.Requester, kind, partition string) (amqp.Map, error) {
	t, err := a.proof.token(ctx, c.place)
	if err != nil {
		return nil, err
	}
	request := &amqp.Message{ApplicationProperties: amqp.Map{
		{Key: "operation", Value: "READ"}, {Key: "name", Value: c.place.entity}, {Key: "type", Value: kind}, {Key: "security_token", Value: t.text},
	}, Data: [][]byte{{}}}
	if partition != "" {
		request.ApplicationProperties = append(request.ApplicationProperties, amqp.Pair{Key: "partition", Value: partition})
	}
	answer, err := q.Ask(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := q.Status(answer); err != nil {
		return nil, &refusal{err}
	}
	values, ok := answer.Value.(amqp.Map)
	if !ok {
		return nil, fault.Newf("eventhubs.Read", fault.Unavailable, "%s gave an answer that cannot be read", a.end.Name)
	}
	return values, nil
}

func (m *manager) drop() {
	if m.conn != nil {
		m.conn.close()
		m.conn, m.asks = nil, nil
	}
}

// close ends the connection. Nobody asks any more, or they have given up.
func (m *manager) close() {
	m.turn <- struct{}{}
	m.closed = true
	m.drop()
	<-m.turn
}
