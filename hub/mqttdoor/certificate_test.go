package mqttdoor_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// TestCertificates is C03 and C04 on the wire.
func TestCertificates(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	own, foreign := w.Certificate("whatever", false), w.Certificate("d", false)
	w.ThumbprintDevice(hubtest.Contoso, "d", own)
	root := w.Certificate("Plant", true)
	middle := w.Certificate("Line 3", true, root)
	w.Trust(hubtest.Contoso, "plant", root)
	w.AuthorityDevice(hubtest.Contoso, "c")
	w.AuthorityDevice(hubtest.Contoso, "e")
	keyed := w.Device(hubtest.Contoso, "keyed")
	for _, c := range []struct {
		name, id string
		shown    *tls.Certificate
		token    string
		code     mqtt.ReturnCode
	}{
		{"thumbprint", "d", &own, "", 0},
		{"another certificate", "d", &foreign, "", 5},
		{"none", "d", nil, "", 5},
		{"chain", "c", new(w.Certificate("c", false, root, middle)), "", 0},
		{"another's name", "e", new(w.Certificate("c", false, root, middle)), "", 5},
		{"an authority nobody knows", "c", new(w.Certificate("c", false, w.Certificate("Plant", true))), "", 5},
		{"a certificate beside a key", "keyed", &own, w.Token(hubtest.Contoso, keyed), 0},
		{"a certificate instead of a key", "keyed", &own, "", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var shown tls.Certificate
			if c.shown != nil {
				shown = *c.shown
			}
			conn, err := w.DialWith(w.MQTT, hubtest.Contoso, shown)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			p := &peer{conn, t, mqtt.NewReader(conn, mqtt.MaxRemaining)}
			packet := connect(hubtest.Contoso, c.id, c.token)
			packet.HasPassword = c.token != ""
			p.send(packet)
			p.wants(c.code)
			if c.code != mqtt.Accepted {
				return
			}
			p.send(publish(c.id, "", "x", 1))
			p.next()
		})
	}
	kinds := map[string]int{}
	for _, e := range w.Events(hubtest.Contoso, 3) {
		for _, kind := range []string{"sas", "x509"} {
			if strings.Contains(e.System["iothub-connection-auth-method"], kind) {
				kinds[kind]++
			}
		}
	}
	if kinds["x509"] != 2 || kinds["sas"] != 1 {
		t.Errorf("stamps of %v", kinds)
	}
}
