package conformance

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
)

func streamEnv(t *testing.T, w *hubtest.World) []string {
	t.Helper()
	d := w.Device(hubtest.Contoso, "d")
	return []string{"HOST=" + hubtest.Contoso, "DEVICE=d", "TOKEN=" + w.Token(hubtest.Contoso, d), serviceString(t, w, hub.PolicyService)}
}

// TestStreams: both ends of a stream, what a token is good for, and what a service hears that gets none.
func TestStreams(t *testing.T) {
	beside(t)
	t.Run("accepted", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base", "ws")
		accepted(t, "mqtt", map[string]any{"levels": 5, "empty": true, "short": true})
	})
	t.Run("accepted over AMQP", func(t *testing.T) {
		covers(t, "C38", "azure-iot-amqp-base", "azure-iot-http-base", "ws")
		accepted(t, "amqp", map[string]any{"host": hubtest.Contoso})
	})
	t.Run("versions", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base", "ws")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "versions", streamEnv(t, w)...)
		for _, version := range []string{"2018-08-30-preview", "2018-10-20-preview", "2020-09-30"} {
			s.all(map[string]any{"version": version, "accepted": "True", "text": "hello", "code": 1000})
		}
	})
	for _, over := range []string{"mqtt", "amqp"} {
		t.Run("rejected over "+over, func(t *testing.T) {
			covers(t, "C38", "azure-iot-"+over+"-base", "azure-iot-http-base")
			w := start(t, hubtest.Options{Full: true})
			play(t, w, "streams.js", "reject", append(streamEnv(t, w), "TRANSPORT="+over)...).all(map[string]any{"accepted": "False", "status": 200, "url": "none"})
		})
	}
	t.Run("offline", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "offline", streamEnv(t, w)...)
		s.all(map[string]any{"status": 404, "code": 404103, "name": "DeviceNotOnline"})
		s.all(map[string]any{"status": 404, "code": 404103, "name": "DeviceNotOnline", "waited": "00:01:01"}) // 1 s for it to connect, 60 s to answer
		s.all(map[string]any{"status": 404, "error": "DeviceNotFoundError", "name": "DeviceNotFound"})
		s.wants("asked", true)
		s.goOn()
		s.wants("accepted", "True")
	})
	t.Run("no answer", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "timeout", streamEnv(t, w)...)
		s.all(map[string]any{"status": 504, "code": 504101, "name": "GatewayTimeout", "waited": "00:00:01"})
		s.all(map[string]any{"status": 400, "error": "ArgumentError"})
		s.all(map[string]any{"status": 400, "error": "ArgumentError"})
	})
	t.Run("names", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "names", streamEnv(t, w)...)
		s.wants("accepted", "True")
		for range 4 {
			s.all(map[string]any{"status": 400, "error": "ArgumentError", "name": "ArgumentInvalid"})
		}
	})
}

// accepted is a stream from its beginning to its end; asked is what there is to see in the request that the device gets.
func accepted(t *testing.T, over string, asked map[string]any) {
	t.Helper()
	w := start(t, hubtest.Options{Full: true})
	s := play(t, w, "streams.js", "accept", append(streamEnv(t, w), "TRANSPORT="+over)...)
	maps.Copy(asked, map[string]any{"accepted": "True", "status": 200, "name": "ssh", "same": true})
	for _, want := range []map[string]any{
		asked,
		{"forged": 401},
		{"again": 401},
		{"protocol": "AMQP"},
		{"held": "before the device is there", "bytes": 300026, "reused": 401},
		{"down": "hello"},
		{"closed": true, "late": 401},
	} {
		s.all(want)
	}
}

// TestStreamsByGrant: in a deployment a policy's key opens no stream; the connection string of a grant opens its own, and nothing else.
func TestStreamsByGrant(t *testing.T) {
	covers(t, "C38", "azure-iot-mqtt-base", "azure-iot-http-base", "ws")
	w := start(t, hubtest.Options{Full: true})
	var key []byte
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.DeviceStreams, key = "", p.LinkKey })
	now := time.Now()
	w.Streams.SetTargets([]plan.Target{{
		ID: "target", Name: "ot/ot-cloud/d-ssh", Device: &plan.TargetDevice{Hub: w.Hub(hubtest.Contoso).ID(), Device: "d", Stream: "ssh"},
		Grants: []plan.Grant{{ID: "0f3a", Person: "spiffe://isthmus/tenant/ot/person/alice/", Name: "alice of ot", From: now.Add(-time.Minute), Until: now.Add(time.Hour)}},
	}})
	env := append(streamEnv(t, w), "GRANT="+streamkey.ConnectionString(hubtest.Contoso, key, "0f3a"))
	s := play(t, w, "streams.js", "grant", env...)
	says := func(status int, words string) {
		t.Helper()
		if line := s.wants("status", status); !strings.Contains(line.text("text"), words) {
			t.Errorf("%v does not say %q", line, words)
		}
	}
	says(403, "to people with a grant")
	s.all(map[string]any{"accepted": "True", "text": "hello"})
	says(403, "is for the stream ssh of device")
	says(403, "is for the stream ssh of device")
	says(401, "IotHubUnauthorized")
	says(401, "IotHubUnauthorized")
	says(401, "IotHubUnauthorized")
	s.wants("ready", true)
	begun := time.Now()
	w.Streams.SetTargets(nil)
	s.goOn()
	s.all(map[string]any{"service": 1008, "device": 1008, "why": "the stream ended: revoked"})
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the ends were told after %v", took)
	}
	says(403, "lets nobody in")
}
