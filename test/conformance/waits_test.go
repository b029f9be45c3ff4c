package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestWaits has what takes seconds because time is what it is about, beside each other.
func TestWaits(t *testing.T) {
	o := sending(t)
	for name, test := range map[string]func(*testing.T, *outbound){"methods": methods, "tokens": tokens, "silence": silence, "queues": queues} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, o.in(t))
		})
	}
}

func silence(t *testing.T, o *outbound) {
	w := o.World
	for _, carrier := range carriers {
		t.Run("C09 over "+carrier, func(t *testing.T) {
			t.Parallel()
			covers(t, "C09", rawMQTT)
			d := w.Device(hubtest.Contoso, "silent-"+strings.Fields(carrier)[0])
			c := hello(w, d)
			c.KeepAlive = 1
			p := connectRaw(t, w, carrier, c, false)
			time.Sleep(time.Second) // that is what is tested: any packet begins the time anew
			p.silent()
			begun := time.Now()
			p.ends()
			if took := time.Since(begun); took < 1400*time.Millisecond || took > 10*time.Second {
				t.Errorf("it was closed after %v of silence", took)
			}
			eventually(t, "connectionState Disconnected", func() bool {
				return rest(t, w, "GET", "/devices/"+d.ID, "").text("connectionState") == "Disconnected"
			})
		})
	}
}
