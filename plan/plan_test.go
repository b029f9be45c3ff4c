package plan_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/isthmus-io/isthmus/plan"
)

func TestRevisionTellsContent(t *testing.T) {
	base := plan.Plan{
		Self: plan.Self{ID: "spiffe://isthmus.test/tenant/ot/network/plant-7/agent/gw", Tenant: "ot", Network: "plant-7", Agent: "gw"}, Roots: "pem",
		Endpoints: []plan.Endpoint{{ID: "e1", Address: netip.MustParseAddr("10.7.0.4"), Ports: []uint16{8883}, Open: true}},
	}
	sealed := base.Seal()
	if sealed.Revision == "" || sealed.Revision != base.Seal().Revision || sealed.Seal().Revision != sealed.Revision {
		t.Fatalf("equal plans have revisions %q, %q and %q", sealed.Revision, base.Seal().Revision, sealed.Seal().Revision)
	}
	// Every field counts: a plan that differs in any of them must be told apart, or a member would not carry it out.
	v := reflect.ValueOf(&base).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Revision" {
			continue
		}
		changed := base
		f := reflect.ValueOf(&changed).Elem().Field(i)
		switch f.Kind() {
		case reflect.Slice:
			f.Set(reflect.Append(f, reflect.Zero(f.Type().Elem())))
		case reflect.String:
			f.SetString("other")
		case reflect.Struct:
			f.Field(0).SetString("other")
		default:
			t.Fatalf("%s: a %s is not tried here", name, f.Kind())
		}
		if changed.Seal().Revision == sealed.Revision {
			t.Errorf("a change of %s does not change the revision", name)
		}
	}
}
