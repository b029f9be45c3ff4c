package conformance

import (
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func streamEnv(w *hubtest.World) []string {
	d := w.Device(hubtest.Contoso, "d")
	return []string{"HOST=" + hubtest.Contoso, "DEVICE=d", "TOKEN=" + w.Token(hubtest.Contoso, d), "SERVICE_TOKEN=" + w.ServiceToken(hubtest.Contoso, hub.PolicyService)}
}

// TestStreams: both ends of a stream, what a token is good for, and what a service hears that gets none.
func TestStreams(t *testing.T) {
	t.Run("accepted", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base", "ws")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "accept", streamEnv(w)...)
		for _, want := range []map[string]any{
			{"accepted": "True", "status": 200, "levels": 5, "name": "ssh", "empty": true, "short": true, "same": true},
			{"forged": 401},
			{"again": 401},
			{"protocol": "AMQP"},
			{"held": "before the device is there", "bytes": 300026},
			{"down": "hello"},
			{"closed": true, "late": 401},
		} {
			s.all(want)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base")
		w := start(t, hubtest.Options{Full: true})
		play(t, w, "streams.js", "reject", streamEnv(w)...).all(map[string]any{"accepted": "False", "status": 200, "url": "none"})
	})
	t.Run("offline", func(t *testing.T) {
		covers(t, "C38", "azure-iot-mqtt-base")
		w := start(t, hubtest.Options{Full: true})
		s := play(t, w, "streams.js", "offline", streamEnv(w)...)
		s.all(map[string]any{"status": 404, "code": 404103, "name": "DeviceNotOnline"})
		s.wants("asked", true)
		s.goOn()
		s.wants("accepted", "True")
	})
}
