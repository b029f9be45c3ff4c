package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestHubWhy(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	local := &hubShell{t, nil}
	here := func(args ...string) []string {
		return append(args, "--data-dir", filepath.Dir(w.Admin), "--hub", hubtest.Contoso)
	}
	local.wants(here("device", "create", "sensor-1", "--disabled")...)
	out := local.wants(here("why", "sensor-1")...)
	for _, words := range []string{"sensor-1 of ot/ot-cloud/contoso", "no  device \"sensor-1\" is disabled", "next: enable it", "Identity", "disabled, proves itself by sas", "Fallback"} {
		if !strings.Contains(out, words) {
			t.Errorf("%q is missing in\n%s", words, out)
		}
	}
	if key := w.Device(hubtest.Contoso, "sensor-2").PrimaryKey; strings.Contains(local.wants(here("why", "sensor-2", "-o", "json")...), key) {
		t.Error("it shows a key")
	}
	var x struct {
		Findings []struct {
			What, Next string
			Bad        bool
		}
	}
	if err := json.Unmarshal([]byte(local.wants(here("why", "nobody", "-o", "json")...)), &x); err != nil || !x.Findings[0].Bad || !strings.Contains(x.Findings[0].What, "no device") {
		t.Errorf("%+v, %v", x, err)
	}
	local.wants(here("why", "nobody")...)
	code, _, complaints := local.run(here("why", "nobody", "--exit-code")...)
	if code != exitFailed || !strings.Contains(complaints, "does not work") || !strings.Contains(complaints, "next:") {
		t.Errorf("%d %s", code, complaints)
	}
	if code, _, complaints := local.run(here("why", "a b")...); code != exitFailed || !strings.Contains(complaints, "holds") {
		t.Errorf("%d %s", code, complaints)
	}
	if code, _, _ := local.run(here("why")...); code != exitUsage {
		t.Errorf("without a device: %d", code)
	}
}
