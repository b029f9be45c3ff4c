package relay

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// The examples of docs/link.md are what the code writes and reads.
func TestExamplesOfTheProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/link.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```hex (\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		shown[m[1]] = strings.Join(strings.Fields(m[2]), "")
	}
	var ticket tunnel.Ticket
	for i := range ticket {
		ticket[i] = byte(i)
	}
	preface := tunnel.Preface{Kind: tunnel.Pair, Ticket: ticket}.Encode()
	want := map[string]string{"Preface": hex.EncodeToString(preface[:])}
	for name, s := range map[string]tunnel.Signal{
		"Ask":     tunnel.Ask{Request: 1, Target: "spiffe://isthmus.local/tenant/ot/network/ot-cloud/agent/p-1"},
		"Offer":   tunnel.Offer{Ticket: ticket, From: "spiffe://isthmus.local/tenant/ot/network/plant-7/agent/gw-1"},
		"Issued":  tunnel.Issued{Request: 1, Ticket: ticket},
		"Refuse":  tunnel.Refuse{Request: 1, Code: tunnel.RefuseAbsent, Message: "not connected"},
		"Ping":    tunnel.Ping{Token: 0x0102030405060708},
		"Pong":    tunnel.Pong{Token: 0x0102030405060708},
		"Decline": tunnel.Decline{Ticket: ticket},
	} {
		b, err := tunnel.AppendSignal(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		want[name] = hex.EncodeToString(b)
	}
	for name, w := range want {
		if shown[name] != w {
			t.Errorf("%s is shown as %s, and is %s", name, shown[name], w)
		}
	}
	if len(shown) != len(want) {
		t.Errorf("%d examples are shown, %d are checked", len(shown), len(want))
	}
}

// Every status and refusal that the code knows is explained on the page, by its number.
func TestCodesOfTheProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/link.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 1 | absent |", "| 2 | denied |", "| 3 | overloaded |", "| 4 | shutting-down |",
		"| 0 | paired |", "| 7 | the other agent was offered",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for c := tunnel.ResetRefused; c <= tunnel.ResetTimeout; c++ {
		if !strings.Contains(string(page), "| "+c.String()+" |") {
			t.Errorf("the page lacks reset code %v", c)
		}
	}
}
