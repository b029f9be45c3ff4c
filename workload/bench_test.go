package workload_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// A bridge's token, which is shown with every request.
func BenchmarkVerifyKnown(b *testing.B) {
	w := newWorld(b)
	token := w.genuine().text(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verify(token); err != nil {
			b.Fatal(err)
		}
	}
}

// A token that nobody has seen.
func BenchmarkVerifyNew(b *testing.B) {
	w := newWorld(b)
	token := w.genuine().text(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := workload.NewVerifier(w.creds.Roots, nil, w.clock).Verify(token, host); err != nil {
			b.Fatal(err)
		}
	}
}

// What a stranger can make a service do with one token: names of ours, keys of his own, as many certificates as may be.
func BenchmarkVerifyStranger(b *testing.B) {
	w := newWorld(b)
	f := w.genuine()
	thief := newKey(b)
	root := *w.Authority.Certificate()
	root.PublicKey = nil // he has only its name
	fake := certify(b, &root, thief, thief.Public(), nil)
	f.by(thief, fake, fake, fake)
	token := f.text(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verify(token); err == nil {
			b.Fatal("it is taken")
		}
	}
}

func BenchmarkIs(b *testing.B) {
	w := newWorld(b)
	token := w.genuine().text(b)
	b.ReportAllocs()
	for b.Loop() {
		if !workload.Is(token) || workload.Is("SharedAccessSignature sr=x") {
			b.Fatal("it is not")
		}
	}
}

func BenchmarkMint(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := workload.NewMinter(w.creds, w.clock).Token(b.Context(), string(wt.Bridge), host); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRights(b *testing.B) {
	var list []plan.Assignment
	for i := range 100 {
		a := wt.Assign(resource.RoleDataSender, "")
		a.Workload += strings.Repeat("x", i)
		list = append(list, a)
	}
	p := workload.Proof{Workload: string(wt.Bridge), Agent: string(wt.Agent)}
	b.ReportAllocs()
	for b.Loop() {
		if len(workload.Rights(list, p)) != 1 {
			b.Fatal("not one")
		}
	}
}
