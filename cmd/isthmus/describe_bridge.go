package main

import (
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// describeContract tells what a contract says and how far it is.
func describeContract(w *world, n *resource.Contract) (next []string) {
	w.lines(contractLines(n.Metadata.Tenant, n.Spec))
	w.printf("\n")
	w.pairs([2]string{"Version", itoa(int(n.Status.Version))}, [2]string{"Digest", n.Status.Digest})
	w.contractStanding(n, n.Status.Version)
	if len(n.Status.History) > 0 {
		w.printf("\nDecisions:\n")
		var rows [][]cell
		for _, h := range n.Status.History {
			rows = append(rows, cells("  "+w.ago(h.At), h.By, h.What+" version "+itoa(int(h.Version)), h.Reason))
		}
		w.table(make([]string, 4), rows)
	}
	return contractNext(n)
}

// describeBridge tells what a bridge does and how it is.
func describeBridge(w *world, b *resource.Bridge) (next []string) {
	sp, st := &b.Spec, b.Status
	w.bridgePicture(b)
	w.printf("\n")
	w.pairs(
		[2]string{"Steps", stepWords(b)},
		[2]string{"Consumer group", first(sp.Source.ConsumerGroup, "$Default")},
		[2]string{"Begins at", first(sp.Source.Start, "earliest")},
		[2]string{"Identity", st.Identity},
		[2]string{"Assignment", positive(st.Assignment)},
	)
	path := b.Key().Path()
	switch {
	case sp.Paused:
		next = append(next, "let it go on:  isthmus bridge resume "+path)
	case st.Agent == "":
		next = append(next, "let a process join that carries it:", "  isthmus token join --for bridge --network "+b.Metadata.Tenant+"/"+b.Metadata.Network)
	case st.Step == "contract" && sp.Contract != "":
		next = append(next, "see the contract:  isthmus contract show "+sp.Contract)
	case strings.Contains(st.Why, "connection is Pending"):
		next = append(next, "see who has to approve:  isthmus endpoint list --state Pending")
	}
	return append(next, "watch it:  isthmus bridge status "+path+" --watch")
}

// positive is a number, and nothing for none.
func positive(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
