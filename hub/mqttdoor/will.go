package mqttdoor

import (
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// checkWill refuses a will which could not be sent later.
func (c *client) checkWill(w *mqtt.Will) error {
	if w == nil {
		return nil
	}
	bag, ok := c.topics.bag([]byte(w.Topic))
	if !ok {
		return fault.Newf("mqttdoor.connect", fault.Denied, "the will is for %.200q, which is not the device's own", w.Topic).
			Advise("a will goes to %s/messages/events/", c.topics.own)
	}
	if _, _, err := parseBag(bag); err != nil {
		return err
	}
	if len(bag)+len(w.Payload) > hub.MaxMessage {
		return fault.New("mqttdoor.connect", fault.TooLarge, "the will is too large")
	}
	// The packet is gone once the next one is read.
	kept := *w
	kept.Payload = append([]byte(nil), w.Payload...)
	c.will = &kept
	return nil
}

// sendWill sends the will as telemetry (IoT Hub: communicate using MQTT, using the will message). Nobody waits for it to be durable.
func (c *client) sendWill() {
	if c.will == nil {
		return
	}
	bag, _ := c.topics.bag([]byte(c.will.Topic)) // checked when it was taken
	properties, system, _ := parseBag(bag)
	properties = mark(properties, c.will.Retain, false)
	if properties == nil {
		properties = map[string]string{}
	}
	properties["iothub-MessageType"] = "Will"
	h, n := c.session.Hub(), len(c.will.Payload)
	c.session.Submit(c.will.Payload, c.session.Label(properties, system), func(_ eventlog.Position, err error) {
		if err != nil {
			c.door.log.Error("hub: a will was not stored", "device", c.session.Name().String(), "err", err)
			return
		}
		h.Acknowledged(n)
	})
}
