package mqttdoor

import (
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// subscribe grants what is the device's own, and closes the connection of one who wants anything else: SDKs overlook a refusal in SUBACK.
// What the hub has for the device comes after the SUBACK.
func (c *client) subscribe(p *mqtt.Subscribe) error {
	codes := make([]byte, len(p.Topics))
	kinds := make([]subscription, len(p.Topics))
	for i, t := range p.Topics {
		if kinds[i] = c.topics.subscription(t.Filter); kinds[i] == notOwn {
			return fault.Newf("mqttdoor.subscribe", fault.Denied, "the device subscribed to %.200q, which is not its own", t.Filter).
				Advise("a device subscribes to its own topics only; see the list in IoT Hub's MQTT documentation")
		}
		codes[i] = min(t.QoS, 1)
		if c.keeps && kinds[i] >= toCommands {
			if err := c.session.KeepListening(c.conn.Context(), kept(kinds[i], codes[i])); err != nil {
				return err
			}
		}
	}
	if err := c.outbox.send(&mqtt.Suback{ID: p.ID, Codes: codes}); err != nil {
		return err
	}
	for i, kind := range kinds {
		c.listen(kind, codes[i])
	}
	return nil
}

func (c *client) listen(kind subscription, qos byte) {
	switch kind {
	case toAnswers:
		c.twins = true
	case toDesired:
		c.session.Listen(hub.DesiredProperties, true)
	case toMethods:
		c.session.Listen(hub.Methods, true)
	case toStreams:
		c.session.Listen(hub.Streams, true)
	case toCommands, toInputs:
		c.startCommands(kind, qos)
		c.session.Listen(hub.Commands, true)
	case notOwn, toNothing:
	}
}

func (c *client) unsubscribe(p *mqtt.Unsubscribe) error {
	for _, f := range p.Filters {
		switch kind := c.topics.subscription(f); kind {
		case toAnswers:
			c.twins = false
		case toDesired:
			c.session.Listen(hub.DesiredProperties, false)
		case toMethods:
			c.session.Listen(hub.Methods, false)
		case toStreams:
			c.session.Listen(hub.Streams, false)
		case toCommands, toInputs:
			c.session.Listen(hub.Commands, false)
			c.pauseCommands()
			if err := c.session.KeepListening(c.conn.Context(), ""); err != nil {
				return err
			}
		case notOwn, toNothing: // nobody subscribed to that, and nobody is hurt (MQTT-3.10.4-5)
		}
	}
	return c.outbox.send(mqtt.Ack{Of: mqtt.UNSUBACK, ID: p.ID})
}

// kept is how a subscription to commands is written down, for a session that survives its connection.
func kept(kind subscription, qos byte) string {
	way := "devicebound"
	if kind == toInputs {
		way = "inputs"
	}
	return "mqtt " + way + " " + strconv.Itoa(int(qos))
}

// wasKept reads what kept wrote.
func wasKept(text string) (kind subscription, qos byte, ok bool) {
	for _, kind := range []subscription{toCommands, toInputs} {
		for qos := range byte(2) {
			if kept(kind, qos) == text {
				return kind, qos, true
			}
		}
	}
	return notOwn, 0, false
}

// DesiredChanged implements hub.Receiver.
func (c *client) DesiredChanged(version int64, patch json.RawMessage) {
	_ = c.outbox.push(&mqtt.Publish{Topic: strconv.AppendInt([]byte(desiredNotice+"?$version="), version, 10), Payload: patch}) // always fits
}

// MethodCalled implements hub.Receiver. SDKs answer an empty payload with an error of their own, so none given is null.
func (c *client) MethodCalled(m hub.MethodCall) {
	payload := []byte(m.Payload)
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if err := c.outbox.push(&mqtt.Publish{Topic: []byte(methodCall + m.Name + "/?$rid=" + m.ID), Payload: payload}); err != nil {
		c.door.log.Warn("hub: a method cannot be called: its name does not fit into a topic", "device", c.session.Name().String(), "err", err)
	}
}

// StreamRequested implements hub.StreamReceiver.
func (c *client) StreamRequested(r hub.StreamRequest) {
	topic := streamCall + r.Name + "/?$rid=" + r.ID + "&$url=" + url.QueryEscape(r.URL) + "&$auth=" + r.Token
	if err := c.outbox.push(&mqtt.Publish{Topic: []byte(topic)}); err != nil {
		c.door.log.Warn("hub: a stream cannot be asked for: its name does not fit into a topic", "device", c.session.Name().String(), "err", err)
	}
}
