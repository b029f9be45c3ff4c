package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// simulation runs isthmus simulate with an environment against a hub in this process.
type simulation struct {
	t       *testing.T
	environ []string
	in      string
	typing  bool
}

func (s *simulation) run(args ...string) (code int, out, complaints string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	w := &world{
		in: strings.NewReader(s.in), out: &lockedWriter{w: &stdout}, err: &lockedWriter{w: &stderr}, clock: clock.System{}, typing: s.typing,
		getenv: func(string) string { return "" }, environ: func() []string { return s.environ },
	}
	return run(context.Background(), w, append([]string{"simulate"}, args...)), stdout.String(), stderr.String()
}

func TestSimulate(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	owner, err := w.Hub(hubtest.Contoso).PolicyConnectionString("iothubowner")
	if err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(t.TempDir(), "job.json")
	if err := os.WriteFile(job, []byte("\ufeff"+`{"Variables": [{"name": "Value", "sequence": true, "values": ["$.Counter", "true"]}, {"name": "Counter"}],
		"Intervals": {"sim000001": 1, "sim000002": [1, 2]}, "Payloads": [
		{"type": "template", "deviceId": "sim000001", "template": {"value": "$.Value"}}, {"type": "fix", "deviceId": "sim000002", "value": "fix"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &simulation{t: t, environ: []string{"IotHubConnectionString=" + owner, "DeviceCount=2", "MessageCount=4", "File=" + job}}
	there := []string{"--ca", w.CAFile, "--api-address", w.HTTPS}

	if code, out, complaints := s.run(append([]string{"devices", "create", "--yes"}, there...)...); code != exitDone || out != "2 created, 0 there already, 0 failed, of 2 devices\n" {
		t.Fatalf("create: %d %s %s", code, out, complaints)
	}
	run := append(there, "--address", w.MQTT)
	code, out, complaints := s.run(append(run, "--verify", "-o", "json", "--log-level", "error")...)
	var res struct {
		Devices  struct{ Finished int }
		Messages struct{ Acknowledged int }
		Verified struct{ Received, Lost int }
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil || code != exitDone || res.Devices.Finished != 2 || res.Messages.Acknowledged != 8 || res.Verified.Received != 8 {
		t.Fatalf("%d %s %s %v", code, out, complaints, err)
	}
	var bodies []string
	for _, e := range w.Events(hubtest.Contoso, 8) {
		bodies = append(bodies, string(e.Body))
	}
	text := strings.Join(bodies, " ")
	for body, n := range map[string]int{`{"value":"1"}`: 1, `{"value":"true"}`: 2, `{"value":"2"}`: 1, "fix": 4} {
		if strings.Count(text, body) != n {
			t.Errorf("%s is not there %d times: %s", body, n, text)
		}
	}
	code, out, complaints = s.run(append(run, "--verify", "--device-list", "sim000001,nobody")...)
	if code != exitFailed || !strings.Contains(out, "devices      2 simulated, 1 connected, 1 finished, 1 refused, 0 gave up\n") || !strings.Contains(out, "verified     4 received of 4, 0 lost") ||
		!strings.Contains(complaints, "error: 1 devices were refused") || !strings.Contains(complaints, "has no effect beside DeviceList") {
		t.Errorf("%d %s %s", code, out, complaints)
	}
	for name, answer := range map[string]struct {
		in   string
		code int
	}{"no": {"n\n", exitFailed}, "nothing": {"", exitFailed}, "yes": {"yes\n", exitDone}} {
		s.in, s.typing = answer.in, true
		if code, _, complaints := s.run(append([]string{"devices", "delete", "--device-count", "1"}, there...)...); code != answer.code || !strings.Contains(complaints, "Delete device sim000001 in "+hubtest.Contoso+"? [y/N] ") {
			t.Errorf("%s: %d %s", name, code, complaints)
		}
	}
	if code, out, complaints := s.run(append(run, "--create-devices", "--device-count", "5", "--message-count", "1", "--metrics-listen", "127.0.0.1:0")...); code != exitDone || !strings.Contains(complaints, "created=4 already=1") {
		t.Errorf("%d %s %s", code, out, complaints)
	}
}
