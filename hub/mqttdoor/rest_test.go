package mqttdoor_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// inPieces is a connection that is written by one or a few bytes at a time, with pauses that a scheduler makes.
type inPieces struct{ net.Conn }

func (c inPieces) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		k := min(len(b)-n, 1+rand.IntN(40))
		if _, err := c.Conn.Write(b[n : n+k]); err != nil {
			return n, err
		}
		n += k
		for range rand.IntN(2000) {
			runtime.Gosched()
		}
	}
	return len(b), nil
}

// TestDevicesThatRest sends packets in pieces to a door that rests as soon as nothing is there: between packets, and in the middle of them
// and of their TLS records.
func TestDevicesThatRest(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{MQTT: mqttdoor.Config{Patience: 50 * time.Microsecond}})
	d := w.Device(hubtest.Contoso, "d")
	raw, err := net.Dial("tcp", w.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	_ = raw.(*net.TCPConn).SetNoDelay(true)
	conn := tls.Client(inPieces{raw}, &tls.Config{RootCAs: w.Roots, ServerName: hubtest.Contoso, MinVersion: tls.VersionTLS12})
	p := &peer{conn, t, mqtt.NewReader(conn, mqtt.MaxRemaining)}
	p.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted)
	p.subscribes(answers, methods)
	const n = 60
	for i := range n {
		p.send(publish("d", "", fmt.Sprint("message ", i), uint16(i+1)))
		if got := p.next(); got != (mqtt.Ack{Of: mqtt.PUBACK, ID: uint16(i + 1)}) {
			t.Fatalf("message %d is answered with %+v", i, got)
		}
	}
	p.send(publish("d", "", "two", 100), publish("d", "", "at once", 101))
	p.next()
	p.next()
	for i, e := range w.Events(hubtest.Contoso, n)[:n] {
		if string(e.Body) != fmt.Sprint("message ", i) {
			t.Fatalf("event %d is %s", i, e.Body)
		}
	}
	// What the hub has for a device that rests reaches it.
	a := invoke(t.Context(), w.Hub(hubtest.Contoso), hub.Name{Device: "d"}, hub.MethodRequest{Name: "m"})
	m := p.hears()
	p.send(&mqtt.Publish{Topic: append([]byte("$iothub/methods/res/200/"), m.Topic[len("$iothub/methods/POST/m/"):]...), Payload: []byte("{}")})
	if got := <-a; got.err != nil {
		t.Error(got.err)
	}
}

// What ends a connection ends one that rests.
func TestEndsOfConnectionsThatRest(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{MQTT: mqttdoor.Config{Patience: 50 * time.Microsecond}})
	h := w.Hub(hubtest.Contoso)
	p, _ := device(t, w, "disabled")
	if _, err := h.UpdateDevice(t.Context(), hubstore.Device{ID: "disabled", Status: hubstore.Disabled}, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	p.ends()
	p, _ = device(t, w, "lost")
	p.lose()
	eventually(t, "both are gone", func() bool { return h.Connected() == 0 })
	d := w.Device(hubtest.Contoso, "silent")
	p = dial(t, w, nil, hubtest.Contoso)
	c := connect(hubtest.Contoso, "silent", w.Token(hubtest.Contoso, d))
	c.KeepAlive = 1
	p.send(c)
	p.wants(mqtt.Accepted)
	start := time.Now()
	p.ends()
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("silence ended it after %v", took)
	}
	device(t, w, "stays") // until the world ends, which fails when it does not go
}
