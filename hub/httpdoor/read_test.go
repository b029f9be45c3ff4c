package httpdoor_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
)

// What is read of an identity is of the identity that the path names, whatever the body says.
func FuzzReadIdentity(f *testing.F) {
	f.Add(`{"deviceId":"d","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":null}},"status":"Enabled"}`, "")
	f.Add(`{"moduleId":"m","deviceId":"d","managedBy":null,"authentication":null}`, "m")
	f.Add(`{"capabilities":{"iotEdge":true},"deviceScope":"x","parentScopes":["a",""]}`, "")
	f.Fuzz(func(t *testing.T, body, module string) {
		n := hub.Name{Device: "d", Module: module}
		d, err := httpdoor.ReadIdentity([]byte(body), n)
		if err != nil && fault.KindOf(err) != fault.Invalid || err == nil && d.Name() != n {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

func FuzzReadBatch(f *testing.F) {
	f.Add(`[{"body":"dHdv","properties":{"iothub-app-Line":"4","iothub-messageid":"m2"}},{"body":"plain","base64Encoded":false}]`)
	f.Add(`[{"body":"!"},null,{"properties":{"iothub-app-":"x","":"y"}}]`)
	f.Fuzz(func(t *testing.T, body string) {
		list, err := httpdoor.ReadBatch([]byte(body))
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Error(err)
		}
		for _, m := range list {
			if _, empty := m.Properties[""]; empty {
				t.Errorf("a property without a name in %q", body)
			}
		}
	})
}
