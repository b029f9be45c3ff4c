package demo_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := demo.Check(ctx, demo.CheckConfig{Devices: 10, Messages: 50})
	if err != nil {
		t.Fatal(err)
	}
	if !res.OK() || res.Sent != 500 || !strings.HasSuffix(res.Resolved, ".7.4") {
		t.Errorf("%+v", res)
	}
	for name, worse := range map[string]demo.Result{
		"lost":      func() demo.Result { r := res; r.Lost = 1; return r }(),
		"changed":   func() demo.Result { r := res; r.Changed = 1; return r }(),
		"plaintext": func() demo.Result { r := res; r.RelaySawPlaintext = true; return r }(),
		"pending":   func() demo.Result { r := res; r.PendingPasses = true; return r }(),
		"public":    func() demo.Result { r := res; r.PublicSideRefused = false; return r }(),
		"a person":  func() demo.Result { r := res; r.Visit.LetIn = false; return r }(),
		"alone":     func() demo.Result { r := res; r.Visit.SelfApproved = true; return r }(),
		"stays":     func() demo.Result { r := res; r.Visit.CutMillis = 1500; return r }(),
		"again":     func() demo.Result { r := res; r.Visit.InAgain = true; return r }(),
		"blind tap": func() demo.Result { r := res; r.RelayBytes = 0; return r }(),
	} {
		if worse.OK() {
			t.Errorf("%s is found well", name)
		}
	}
}
