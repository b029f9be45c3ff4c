package decide

import (
	"strings"
	"testing"
)

func TestWhyInWords(t *testing.T) {
	for _, tc := range []struct {
		q    Question
		want string
	}{
		{
			Question{Source: addr("203.0.113.8"), Name: "X.azure-devices.net.", Port: 443},
			`the listener web takes it on port 443
the rule ot/ot-cloud/fabrikam/plant (allow 203.0.113.0/24) decides
x.azure-devices.net leads by route 0 (*.azure-devices.net, hub.example) to the group hub, port 8883
targets: 10.7.0.4:8883, 10.7.0.5:8883, [2001:db8::5]:8883
the source 203.0.113.8 may have 10 connections open at once, 5 new connections a second
the rule ot/ot-cloud/fabrikam/plant may have 100 connections open at once
the name x.azure-devices.net may have 1000 bytes a second
let in to the group hub: the rule ot/ot-cloud/fabrikam/plant allows it`,
		},
		{
			Question{Source: addr("203.0.113.9"), Name: "hub.example", Port: 8883},
			`the listener mqtt takes it on port 8883
the rule ot/ot-cloud/fabrikam/printer (deny 203.0.113.9/32) decides
  ot/ot-cloud/fabrikam/narrow (deny 203.0.113.9/32): holds, but the connection is refused before the name is known
  ot/ot-cloud/fabrikam/plant (allow 203.0.113.0/24): holds, but 203.0.113.9/32 of ot/ot-cloud/fabrikam/narrow is the longer range
refused: the rule ot/ot-cloud/fabrikam/printer denies it; take the rule away, or add one that allows a narrower range`,
		},
		{
			Question{Source: addr("192.0.2.1"), Port: 8883},
			`the listener mqtt takes it on port 8883
one rule has a range around 192.0.2.1, and does not hold
  ot/ot-cloud/fabrikam/gone (allow 192.0.2.0/24): it expired at 2026-11-22T06:00:00Z
refused: no rule lets 192.0.2.1 in; see why the rules around it do not hold, or add one with its range`,
		},
		{
			Question{Source: addr("203.0.113.8"), Name: "broken.azure-devices.net", Listener: "mqtt"},
			`refused: its route leads nowhere: its private endpoint is pending; put right what the route leads to`,
		},
		{
			Question{Source: addr("203.0.113.8"), Name: "contoso.azure-devices.net", Listener: "web"},
			`refused: the private endpoint ot/ot-cloud/contoso has no port 443; give the route a port the endpoint has`,
		},
		{Question{Source: addr("203.0.113.8"), Name: "y.example"}, `refused: no route has the name, and none is for all other names; add a route with the name, or one without names`},
		{Question{Source: addr("203.0.113.8")}, `refused: there is no route for clients without a name; add a route without names`},
		{Question{Source: addr("203.0.113.8"), Name: "x", Listener: "raw"}, "the listener reads no ClientHello, so the name does not count"},
		{Question{Source: addr("203.0.113.8"), Name: "203.0.113.1", Port: 8883}, "refused: the ClientHello has a name that is no host name; have the client send a host name or none"},
		{Question{Source: addr("8.8.8.8"), Port: 8883}, "refused: no rule lets 8.8.8.8 in; add a rule with its range"},
		{
			Question{Source: addr("8.8.8.8"), Port: 22},
			"no listener has port 22\nrefused: the gateway does not listen there; it listens on port 8883 (mqtt), port 443 (web), port 1883 (raw)",
		},
		{Question{Source: addr("8.8.8.8"), Listener: "x"}, `no listener has the name "x"`},
		{Question{Source: addr("8.8.8.8"), Listener: "web", Port: 8883}, `no listener has the name "web" and port 8883`},
	} {
		if got := Why(front(), tc.q, start).String(); !strings.Contains(got, tc.want) {
			t.Errorf("%+v:\n%s\nwanted\n%s", tc.q, got, tc.want)
		}
	}
}
