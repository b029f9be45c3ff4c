package fault_test

import (
	"errors"
	"io"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
)

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		name := k.String()
		if name == "" || seen[name] {
			t.Errorf("kind %d: name %q is empty or taken", k, name)
		}
		seen[name] = true
		if got := fault.ParseKind(name); got != k {
			t.Errorf("ParseKind(%q) = %v, want %v", name, got, k)
		}
	}
	if fault.ParseKind("no such kind") != fault.Internal {
		t.Error("an unknown name must be Internal")
	}
}

func TestWrapKeepsTheInnermostWords(t *testing.T) {
	inner := fault.New("store.Get", fault.NotFound, "no service ot/cloud/hub").Advise("list them with: isthmus get services")
	err := fault.Wrap("control.Describe", fault.Internal, inner, "")
	if got := fault.KindOf(err); got != fault.NotFound {
		t.Errorf("kind = %v", got)
	}
	if got := fault.Message(err); got != "no service ot/cloud/hub" {
		t.Errorf("message = %q", got)
	}
	if fault.Next(err) == "" {
		t.Error("the advice is lost")
	}
	want := "control.Describe: not-found: store.Get: not-found: no service ot/cloud/hub"
	if err.Error() != want {
		t.Errorf("trace\n got %s\nwant %s", err, want)
	}
	if !errors.Is(err, fault.OfKind(fault.NotFound)) || errors.Is(err, fault.OfKind(fault.Denied)) {
		t.Error("OfKind does not match by kind")
	}
}

func TestForeignErrorsStayInside(t *testing.T) {
	for _, err := range []error{io.ErrUnexpectedEOF, fault.Wrap("store.Put", fault.Internal, io.ErrUnexpectedEOF, "row 7 of tenant it")} {
		if msg := fault.Message(err); msg == err.Error() || msg == "row 7 of tenant it" {
			t.Errorf("%v leaks as %q", err, msg)
		}
	}
	if fault.Wrap("x", fault.Invalid, nil, "y") != nil {
		t.Error("wrapping nil must be nil")
	}
}
