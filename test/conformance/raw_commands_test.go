package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestRawCommands(t *testing.T) {
	beside(t)
	o := sending(t)
	d := o.Device(hubtest.Contoso, "d")
	const filter = "devices/d/messages/devicebound/#"
	lasting := hello(o.World, d)
	lasting.CleanSession = false
	connect := func(clean, present bool) *raw {
		c := *lasting
		c.CleanSession = clean
		return connectRaw(t, o.World, carriers[0], &c, present)
	}
	t.Run("C21 the topic says all", func(t *testing.T) {
		covers(t, "C21", rawMQTT)
		o := o.in(t)
		p := connect(true, false)
		p.subscribes(1, filter)
		if _, err := o.api.SendCommand(t.Context(), "d", hubclient.Command{MessageID: "one", Ack: "full", Properties: map[string]string{"a b": "c&d", "empty": ""}, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		m := p.hears()
		for _, part := range []string{
			"devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&%24.mid=one", "&iothub-ack=full", "&a%20b=c%26d", "&empty=", "%24.exp=",
		} {
			if !strings.Contains(string(m.Topic), part) {
				t.Errorf("%s has no %s", m.Topic, part)
			}
		}
		if m.QoS != 1 || m.Dup || m.Retain {
			t.Errorf("%+v", m)
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID}, mqtt.Bare(mqtt.DISCONNECT))
		o.became(map[string]string{"one": "Success"})
	})
	t.Run("C25 clean session 0 and 1", func(t *testing.T) {
		covers(t, "C25", rawMQTT)
		o := o.in(t)
		p := connect(false, false)
		p.subscribes(1, filter)
		p.send(mqtt.Bare(mqtt.DISCONNECT))
		o.sent("d", "waits")
		p = connect(false, true)
		m := p.hears() // without a SUBSCRIBE
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"waits": "Success"})
		o.sent("d", "unheard")
		p = connect(true, false)
		p.silent()
		p.subscribes(1, filter)
		m = p.hears()
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"unheard": "Success"})
		connect(false, false).silent() // that session is over
	})
	t.Run("C26 what is not acknowledged comes again", func(t *testing.T) {
		covers(t, "C26", rawMQTT)
		o := o.in(t)
		p := connect(false, false)
		p.subscribes(1, filter)
		o.sent("d", "again")
		first := p.hears()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = connect(false, true)
		second := p.hears()
		if string(second.Payload) != "again" || first.Dup || !second.Dup || first.ID != second.ID {
			t.Errorf("%+v, then %+v", first, second)
		}
		o.hears()
		if o.status["again"] != "" {
			t.Errorf("it is %s before it was acknowledged", o.status["again"])
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: second.ID})
		o.became(map[string]string{"again": "Success"})
	})
	t.Run("C10 a token that ends loses none", func(t *testing.T) {
		covers(t, "C10", rawMQTT)
		o := o.in(t)
		short := *lasting
		ends := time.Now().Add(2 * time.Second).Truncate(time.Second)
		short.Password = []byte(sign(t, hubtest.Contoso+"/devices/d", d.PrimaryKey, "", time.Until(ends)))
		p := connectRaw(t, o.World, carriers[0], &short, true)
		o.sent("d", "acknowledged", "not acknowledged")
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: p.hears().ID})
		p.hears()
		o.became(map[string]string{"acknowledged": "Success"})
		p.ends()
		if early := time.Until(ends); early > 0 {
			t.Errorf("it was closed %v before its token's end", early)
		}
		refused := dialRaw(t, o.World, carriers[0])
		refused.send(&short)
		if ack := refused.next(); ack != (mqtt.Connack{Code: 5}) {
			t.Errorf("with that token it gets %+v", ack)
		}
		p = connect(false, true)
		m := p.hears()
		if string(m.Payload) != "not acknowledged" || !m.Dup {
			t.Errorf("it hears %+v %s", m, m.Payload)
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"not acknowledged": "Success"})
		p.silent()
	})
}
