package mqttdoor_test

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestPahoClient speaks with a client that others wrote.
func TestPahoClient(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "paho")
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{{Scheme: "ssl", Host: w.MQTT}}
	o.SetTLSConfig(&tls.Config{RootCAs: w.Roots, ServerName: hubtest.Contoso, MinVersion: tls.VersionTLS12})
	o.SetClientID("paho").SetUsername(hubtest.Contoso + "/paho" + suffix).SetPassword(w.Token(hubtest.Contoso, d)).SetProtocolVersion(4).SetAutoReconnect(false)
	lost := make(chan error, 1)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	c := paho.NewClient(o)
	wait := func(token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(20*time.Second) || token.Error() != nil {
			t.Fatalf("not done: %v", token.Error())
		}
	}
	wait(c.Connect())
	wait(c.Subscribe("devices/paho/messages/devicebound/#", 1, nil))
	var tokens []paho.Token
	for i := range 500 {
		tokens = append(tokens, c.Publish(fmt.Sprintf("devices/paho/messages/events/n=%d", i), byte(i%2), false, fmt.Sprintf("message %d", i)))
	}
	for _, token := range tokens {
		wait(token)
	}
	wait(c.Unsubscribe("devices/paho/messages/devicebound/#"))
	for i, e := range w.Events(hubtest.Contoso, 500) {
		if string(e.Body) != fmt.Sprintf("message %d", i) || e.Properties["n"] != fmt.Sprint(i) {
			t.Fatalf("event %d is %q %v", i, e.Body, e.Properties)
		}
	}
	wait(c.Publish("devices/paho/messages/events/", 0, false, "x"))
	c.Publish("devices/another/messages/events/", 1, false, "x")
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Error("a foreign topic did not end the connection")
	}
	c.Disconnect(0)
}
