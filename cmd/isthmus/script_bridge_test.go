package main

import (
	"context"
	"encoding/json"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/resource"
)

// tells TENANT/NETWORK NAME BRIDGE FILE lets a process tell how a bridge of its network is: the status in a file, as JSON.
func tells(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: tells TENANT/NETWORK NAME BRIDGE FILE")
	}
	p := planeOf(ts)
	ctx := context.Background()
	key, err := resource.ParseKey(resource.KindBridge, args[0]+"/"+args[2])
	ts.Check(err)
	o, err := p.ctl.Get(ctx, control.Principal{Name: "admin", Role: control.RoleAdmin}, key)
	ts.Check(err)
	r := control.BridgeReport{ID: o.Head().Metadata.UID}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[3])), &r.Status))
	ts.Check(p.ctl.Report(ctx, p.members[args[0]+"/"+args[1]], control.AgentReport{Version: "v9.9.9", Bridges: []control.BridgeReport{r}}))
}
