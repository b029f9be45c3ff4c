package mqttdoor

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// publish takes a message from the device.
func (c *client) publish(p *mqtt.Publish) error {
	op := "mqttdoor.publish"
	if p.QoS == 2 {
		return fault.New(op, fault.Invalid, "the device published with QoS 2").Advise("IoT hubs know QoS 0 and 1")
	}
	bag, ok := c.topics.bag(p.Topic)
	if !ok {
		return c.request(p)
	}
	if n := len(bag) + len(p.Payload); n > hub.MaxMessage {
		return fault.Newf(op, fault.TooLarge, "a message has %d bytes with its properties, %d are allowed", n, hub.MaxMessage)
	}
	labels, err := c.labels(bag, p.Retain, p.Dup)
	if err != nil {
		return err
	}
	done := c.outbox.begin(p.ID, len(p.Payload))
	if done == nil {
		return nil // the connection is over, which the next read tells
	}
	c.session.Submit(p.Payload, labels, done)
	return nil
}

// labels reads a property bag, or finds that it is the one before.
func (c *client) labels(bag []byte, retain, dup bool) (*hub.Labels, error) {
	if retain || dup {
		properties, system, err := parseBag(bag)
		if err != nil {
			return nil, err
		}
		properties = mark(properties, retain, dup)
		return c.session.Label(properties, system), nil
	}
	if len(bag) == 0 {
		return c.session.Plain(), nil
	}
	if c.bagLabels != nil && string(bag) == string(c.bag) {
		return c.bagLabels, nil
	}
	properties, system, err := parseBag(bag)
	if err != nil {
		return nil, err
	}
	c.bag, c.bagLabels = append(c.bag[:0], bag...), c.session.Label(properties, system)
	return c.bagLabels, nil
}
