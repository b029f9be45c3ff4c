package conformance

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
)

func methods(t *testing.T, o *outbound) {
	w := o.World
	owner := serviceString(t, w, hub.PolicyOwner)
	for _, tr := range lasting {
		all := deviceAndModule(t, w, "methods-"+tr.name)
		if tr.overWebSocket() { // what the device does is enough
			all = all[:1]
		}
		for _, c := range all {
			t.Run(c.name+" over "+tr.name, func(t *testing.T) {
				t.Parallel() // each waits five seconds for who is silent
				for _, id := range []string{"C35", "C36", "C37"} {
					covers(t, id, "azure-iothub", tr.pkg)
				}
				s := play(t, w, "methods.js", "all", owner, c.env, "TRANSPORT="+tr.name, "ID="+c.Device, "MODULE_ID="+c.Module)
				offline := func(name string) {
					t.Helper()
					if v := s.step(name, "Error"); !strings.Contains(v.text("message"), "Not found") {
						t.Errorf("%v", v)
					}
				}
				offline("offline")
				s.step("waited for", "", "body.status", 207, "body.payload.got.n", 0, "body.payload.name", "echo", "body.payload.id", true)
				s.step("payload", "", "body.status", 207, "body.payload.got.n", "[1 <nil> € 2.5]")
				s.step("text", "", "body.payload.got", "text")
				s.step("null payload", "", "body.status", 207, "body.payload.got", nil)
				s.step("no payload", "", "body.status", 207, "body.payload.got", nil)
				s.step("no answer but a status", "", "body.status", 204, "body.payload", nil)
				s.step("a large payload", "", "body.payload.got", 100000)
				s.step("many", "", "body", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19")
				s.step("nobody", "DeviceNotFoundError")
				s.step("silent", "GatewayTimeoutError")
				offline("offline again")
			})
		}
	}
}
