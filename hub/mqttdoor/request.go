package mqttdoor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// request handles a PUBLISH on a topic which is a request to the hub or an answer to one.
func (c *client) request(p *mqtt.Publish) error {
	r := parseRequest(p.Topic)
	status, err := strconv.ParseInt(r.status, 10, 32)
	if r.kind == unknownRequest || (r.kind == methodAnswer || r.kind == streamAnswer) && err != nil {
		return fault.Newf("mqttdoor.publish", fault.Denied, "the device published to %.200q, which is not its own", p.Topic).
			Advise("telemetry goes to %s/messages/events/", c.topics.own)
	}
	if p.QoS == 1 {
		if done := c.outbox.begin(p.ID, notTelemetry); done != nil {
			done(eventlog.Position{}, nil)
		}
	}
	switch r.kind {
	case methodAnswer:
		c.session.AnswerMethod(r.rid, int(status), p.Payload)
	case streamAnswer:
		c.session.AnswerStream(r.rid, status < 300)
	case readTwin:
		return c.readTwin(r.rid)
	case patchReported:
		c.patchReported(r.rid, p.Payload)
	case unknownRequest:
	}
	return nil
}

// readTwin answers after the patches that came before. Who is not subscribed to answers gets none.
func (c *client) readTwin(rid string) error {
	if !c.twins || !c.session.Await(limit.TwinReads, 1) || !c.outbox.settle() {
		return nil
	}
	text, err := c.session.Twin(c.conn.Context())
	answer := mqtt.Publish{Topic: []byte(twinAnswer + "200/?$rid=" + rid), Payload: text}
	if err != nil {
		answer = c.refusal(rid, err)
	}
	return c.outbox.send(&answer)
}

// patchReported answers once the patch is durable. It is made also for those who do not want to hear of it.
func (c *client) patchReported(rid string, patch []byte) {
	if !c.session.Await(limit.TwinUpdates, 1) || !c.outbox.await() {
		return // the connection is over, which the next read tells
	}
	answered := c.twins
	c.outbox.ask()
	c.session.PatchReported(patch, func(version int64, err error) {
		defer c.outbox.answered()
		if !answered {
			return
		}
		answer := mqtt.Publish{Topic: []byte(twinAnswer + "204/?$rid=" + rid + "&$version=" + strconv.FormatInt(version, 10))}
		if err != nil {
			answer = c.refusal(rid, err)
		}
		_ = c.outbox.push(&answer) // the topic is no longer than the one that came
	})
}

// refusal is the answer to a request about a twin that failed. Some SDKs read the status in the topic, others only errorCode in the body.
func (c *client) refusal(rid string, err error) mqtt.Publish {
	k := code.Of(err)
	status := k.Status
	if status < 500 && status != code.Throttled.Status {
		status = 400
	}
	tracking := make([]byte, 16)
	_, _ = rand.Read(tracking) // never fails
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	id, now := hex.EncodeToString(tracking), c.door.clock.Now().UTC()
	body, _ := json.Marshal(struct {
		ErrorCode  int    `json:"errorCode"`
		TrackingID string `json:"trackingId"`
		Message    string `json:"message"`
		Timestamp  string `json:"timestampUtc"`
	}{k.Number, id, text, now.Format(time.RFC3339)}) // strings and a number always marshal
	c.door.log.Debug("hub: a request about a twin failed", "device", c.session.Name().String(), "trackingId", id, "code", k.Number, "err", err)
	return mqtt.Publish{Topic: []byte(twinAnswer + strconv.Itoa(status) + "/?$rid=" + rid), Payload: body}
}
