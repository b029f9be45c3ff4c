package amqpdoor_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

const yearOne = amqp.Timestamp(-62135596800000)

func ask(t *testing.T, c *client, r *amqptest.Requester, body bool, properties ...string) (int32, *amqp.Message) {
	t.Helper()
	m := amqp.Message{}
	for i := 0; i < len(properties); i += 2 {
		m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: properties[i], Value: properties[i+1]})
	}
	if body {
		m.Data = [][]byte{[]byte("[]")}
	} else {
		m.HasValue = true
	}
	answer, err := r.Ask(c.w.ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := amqptest.Status(answer)
	return code, answer
}

func TestCase11Management(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 5e6, time.UTC)
	w := newWorld(t, amqpdoor.Config{}, clock.NewFake(at))
	w.fill(2, 3)
	c := w.connect() // nothing is put: the request has a token
	r, err := c.session.Requester(w.ctx, "$management")
	if err != nil {
		t.Fatal(err)
	}
	hub := []string{"operation", "READ", "name", "Telemetry", "type", "com.microsoft:eventhub", "security_token", "Listen|telemetry|"}
	code, m := ask(t, c, r, true, hub...)
	if code != 200 {
		t.Fatalf("%d: %v", code, m.ApplicationProperties)
	}
	body, _ := m.Value.(amqp.Map)
	for key, want := range map[string]any{
		"name": "telemetry", "type": "com.microsoft:eventhub", "partition_count": int32(4), "created_at": amqp.Timestamp(at.UnixMilli()), "georeplication_factor": int32(1),
	} {
		if got := body.Get(key); got != want {
			t.Errorf("%s = %v (%T)", key, got, got)
		}
	}
	if ids, ok := body.Get("partition_ids").(amqp.Array); !ok || fmt.Sprint(ids.Items) != "[0 1 2 3]" {
		t.Errorf("partition_ids %v", body.Get("partition_ids"))
	} else if _, ok := ids.Items[0].(string); !ok {
		t.Errorf("a partition's id is a %T", ids.Items[0])
	}
	partition := func(id string) []string {
		return []string{"operation", "READ", "name", "telemetry", "type", "com.microsoft:partition", "partition", id, "security_token", "Send||"}
	}
	for id, want := range map[string]amqp.Map{
		"2": {{Key: "begin_sequence_number", Value: int64(0)}, {Key: "last_enqueued_sequence_number", Value: int64(2)}, {Key: "last_enqueued_time_utc", Value: amqp.Timestamp(at.UnixMilli())}, {Key: "is_partition_empty", Value: false}},
		"0": {{Key: "last_enqueued_sequence_number", Value: int64(-1)}, {Key: "last_enqueued_offset", Value: "-1"}, {Key: "last_enqueued_time_utc", Value: yearOne}, {Key: "is_partition_empty", Value: true}, {Key: "partition", Value: "0"}},
	} {
		code, m := ask(t, c, r, false, partition(id)...)
		body, _ := m.Value.(amqp.Map)
		if code != 200 || len(body) != 8 {
			t.Errorf("%d: %v", code, m.ApplicationProperties)
		}
		for _, p := range want {
			if got := body.Get(p.Key); got != p.Value {
				t.Errorf("partition %s: %s = %v (%T), want %v", id, p.Key, got, got, p.Value)
			}
		}
	}
	for name, c2 := range map[string]struct {
		code int32
		ask  []string
	}{
		"unknown event hub": {404, []string{"operation", "READ", "name", "nothing", "type", "com.microsoft:eventhub", "security_token", "Listen||"}},
		"unknown partition": {404, partition("9")},
		"no partition":      {404, partition("")},
		"bad token":         {401, []string{"operation", "READ", "name", "telemetry", "type", "com.microsoft:eventhub", "security_token", "SharedAccessSignature x"}},
		"no token":          {401, []string{"operation", "READ", "name", "telemetry", "type", "com.microsoft:eventhub"}},
		"another's token":   {401, []string{"operation", "READ", "name", "telemetry", "type", "com.microsoft:eventhub", "security_token", "Listen|other|"}},
		"expired token":     {401, []string{"operation", "READ", "name", "telemetry", "type", "com.microsoft:eventhub", "security_token", "Listen||1"}},
		"unknown type":      {400, []string{"operation", "READ", "name", "telemetry", "type", "x", "security_token", "Listen||"}},
		"unknown operation": {400, []string{"operation", "WRITE", "name", "telemetry", "security_token", "Listen||"}},
		"nothing is asked":  {400, nil},
	} {
		if code, m := ask(t, c, r, true, c2.ask...); code != c2.code || m.ApplicationProperties.Get("error-condition") == nil {
			t.Errorf("%s: %v", name, m.ApplicationProperties)
		}
	}
	c = w.all() // what the connection proved is enough for a request without a token
	if r, err = c.session.Requester(w.ctx, "$management"); err != nil {
		t.Fatal(err)
	}
	if code, m := ask(t, c, r, true, hub[:6]...); code != 200 {
		t.Errorf("%v", m.ApplicationProperties)
	}
}

func FuzzManagement(f *testing.F) {
	f.Add("READ", "telemetry", "com.microsoft:partition", "0", "Listen||")
	f.Add("READ", "amqps://x/telemetry/", "com.microsoft:eventhub", "", "")
	w := newWorld(f, amqpdoor.Config{}, clock.System{})
	c := w.all()
	r, err := c.session.Requester(w.ctx, "$management")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, operation, name, kind, partition, token string) {
		m := amqp.Message{HasValue: true}
		for k, v := range map[string]string{"operation": operation, "name": name, "type": kind, "partition": partition, "security_token": token} {
			m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: k, Value: v})
		}
		answer, err := r.Ask(w.ctx, m)
		if err != nil {
			if _, bad := m.Append(nil); bad != nil { // text that is none
				return
			}
			t.Fatal(err)
		}
		if code, _ := amqptest.Status(answer); code < 200 || code > 599 || code >= 500 {
			t.Errorf("answered %v", answer.ApplicationProperties)
		}
	})
}
