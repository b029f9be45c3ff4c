package httpdoor_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestIdentitiesOfAnotherHub(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c, err := hubclient.New(hubclient.Config{Socket: w.Admin, Hub: hubtest.Contoso}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list := []json.RawMessage{
		json.RawMessage(`{"id":"line","capabilities":{"iotEdge":true},"status":"enabled","tags":{"hall":3},"properties":{"desired":{"a":1,"$version":4},"reported":{"b":2}}}`),
		json.RawMessage(`{"id":"line","moduleId":"filter","authentication":{"type":"sas","symmetricKey":{"primaryKey":"MTExMTExMTExMTExMTExMTExMTExMTE=","secondaryKey":"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="}}}`),
		json.RawMessage(`{"id":"leaf","parentDeviceId":"line","modelId":"dtmi:a:b;1"}`),
		json.RawMessage(`{"id":"nobody","twinOnly":true,"tags":{}}`),
		json.RawMessage(`{"id":"not an id"}`),
	}
	for _, one := range []struct {
		mode  string
		trial bool
		want  string
	}{
		{hubclient.ImportCreate, true, "[created true] [created false]"}, // the leaf's parent is made in the same request
		{hubclient.ImportUpdate, false, "[absent false] [absent false]"},
		{hubclient.ImportCreateOrUpdate, false, "[created true] [created false]"},
		{hubclient.ImportCreateOrUpdate, false, "[same false] [same false]"},
	} {
		got, err := c.Import(t.Context(), one.mode, one.trial, list)
		if err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprintf("[%s %v] [%s %v]", got[0].Result, got[0].NewKeys, got[1].Result, got[1].NewKeys); s != one.want {
			t.Errorf("%s: %s, want %s", one.mode, s, one.want)
		}
		if got[3].Result != hubclient.ImportAbsent || code.Of(got[4].Err) != code.ArgumentInvalid || fault.Next(got[4].Err) == "" {
			t.Errorf("%s: %+v %+v", one.mode, got[3], got[4])
		}
	}
	leaf, err := c.Device(t.Context(), "leaf")
	line, err2 := c.Device(t.Context(), "line")
	twin, err3 := c.Twin(t.Context(), "line")
	if err != nil || err2 != nil || err3 != nil || leaf.Scope != line.Scope || string(twin.Tags) != `{"hall":3}` {
		t.Errorf("%+v behind %+v, twin %+v: %v %v %v", leaf, line, twin, err, err2, err3)
	}
	if _, err := c.Import(t.Context(), "replace", false, list); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown mode: %v", err)
	}
	many := make([]json.RawMessage, hubclient.MaxBulk+1)
	for i := range many {
		many[i] = list[0]
	}
	if _, err := c.Import(t.Context(), hubclient.ImportCreate, false, many); code.Of(err) != code.TooManyDevices {
		t.Errorf("too many: %v", err)
	}
}
