package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

var places = make(chan struct{}, 3)

// beside lets a test run beside others, a few at a time: what they start wants a processor more than it waits, and what comes late fails.
func beside(t *testing.T) {
	t.Helper()
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}

// start makes a world on the ports that the SDKs dial, or, where this process may not have them, on others that preload.js stands in for.
func start(t *testing.T, o hubtest.Options) *hubtest.World {
	t.Helper()
	if standardPorts(t, "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.1:5671") {
		o.MQTTOn, o.HTTPSOn, o.AMQPOn = "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.1:5671"
	}
	if o.AMQP == nil {
		o.AMQP = amqpDoors{}.of
	}
	return hubtest.Start(t, o)
}

// standardPorts tells whether the test may listen on these addresses: it has them to itself until it ends, also among the tests of other
// processes. It is false for whoever is not root, and where something else listens.
func standardPorts(t *testing.T, addresses ...string) bool {
	t.Helper()
	if !lockPorts(t) {
		return false
	}
	for _, a := range addresses {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			t.Logf("%v: other ports stand in for the standard ones", err)
			return false
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// said is a line of a scenario.
type said map[string]any

func (s said) text(key string) string {
	v, _ := s[key].(string)
	return v
}

// at returns what is in a line at a path such as "body.authentication.type"; nil when there is nothing.
func (s said) at(path string) any {
	var v any = map[string]any(s)
	for key := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// patience is how long a test waits for anything at all before it says what it waits for and fails.
const patience = 20 * time.Second

// script is a running scenario.
type script struct {
	t     *testing.T
	name  string
	lines <-chan []byte // closed at the end of the output
	last  string        // what it said last
	in    io.Writer
}

// play starts a scenario of one of the .js files against a world; env is NAME=value.
func play(t *testing.T, w *hubtest.World, file, scenario string, env ...string) *script {
	t.Helper()
	return node(t, append([]string{"NODE_EXTRA_CA_CERTS=" + w.CAFile, "PORTS=" + hubPorts(w)}, env...), file, scenario)
}

// hubPorts tells preload.js which ports a world has.
func hubPorts(w *hubtest.World) string {
	return "8883=" + port(w.MQTT) + ",443=" + port(w.HTTPS) + ",5671=" + port(w.AMQP)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// node starts a scenario of a file with the environment of this process and env. When the test ends it gets some time to end by itself.
func node(t *testing.T, env []string, file, scenario string) *script {
	t.Helper()
	if _, err := os.Stat("node_modules/azure-iot-device"); err != nil {
		t.Fatal("the Azure SDKs are not installed: run make deps")
	}
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not on PATH: install Node.js 20 or later, then run make deps")
	}
	ctx, kill := context.WithCancel(context.Background()) // ended by the cleanup below
	c := exec.CommandContext(ctx, program, "-r", "./preload.js", file, scenario)
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan []byte, 1000) // more than any scenario says, so that one nobody listens to can end
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			lines <- slices.Clone(scanner.Bytes())
		}
	}()
	s := &script{t: t, name: file + " " + scenario, lines: lines, in: in}
	t.Cleanup(func() {
		_ = in.Close()
		if t.Failed() {
			kill()
		}
		late := time.AfterFunc(patience, func() {
			t.Errorf("%s does not end within %v; it said last: %s", s.name, patience, s.last)
			kill()
		})
		for range lines { //nolint:revive // what nobody asked for
		}
		err := c.Wait()
		late.Stop()
		kill()
		if err != nil && !t.Failed() {
			t.Errorf("%s: %v; it said last: %s", s.name, err, s.last)
		}
	})
	return s
}

func (s *script) next() said {
	s.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatalf("%s ended early; it said last: %s", s.name, s.last)
		}
		s.last = string(line)
		var v said
		if err := json.Unmarshal(line, &v); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		return v
	case <-late.C:
		s.t.Fatalf("%s says nothing for %v; it said last: %s", s.name, patience, s.last)
	}
	return nil
}

// all reads a line and checks several fields of it.
func (s *script) all(want map[string]any) {
	s.t.Helper()
	v := s.next()
	for key, value := range want {
		if fmt.Sprint(v[key]) != fmt.Sprint(value) {
			s.t.Errorf("the scenario says %v, want %s = %v", v, key, value)
		}
	}
}

// wants reads a line and checks one field of it.
func (s *script) wants(key string, value any) said {
	s.t.Helper()
	v := s.next()
	if fmt.Sprint(v[key]) != fmt.Sprint(value) {
		s.t.Fatalf("the SDK says %v, want %s = %v", v, key, value)
	}
	return v
}

// step reads the line of a step and checks how it ended: "" for well, or the name of an error's class. More pairs of a path and what has
// to be there may follow.
func (s *script) step(name, wrong string, pairs ...any) said {
	s.t.Helper()
	v := s.wants("step", name)
	if v.text("error") != wrong {
		s.t.Errorf("%s: %v, want error %q", name, v, wrong)
	}
	for i := 0; i < len(pairs); i += 2 {
		if path, _ := pairs[i].(string); fmt.Sprint(v.at(path)) != fmt.Sprint(pairs[i+1]) {
			s.t.Errorf("%s: %s is %v, want %v, in %v", name, path, v.at(path), pairs[i+1], v)
		}
	}
	return v
}

// goOn lets a scenario go on that waits.
func (s *script) goOn(words ...string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, strings.Join(words, " ")+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// deviceString is the connection string of a device, or of a module, as an environment variable.
func deviceString(host string, d hub.Device) string {
	return "DEVICE=" + sas.ConnectionString{HostName: host, DeviceID: d.ID, ModuleID: d.Module, Key: d.PrimaryKey}.String()
}

// serviceString is that of a policy.
func serviceString(t *testing.T, w *hubtest.World, policy string) string {
	t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(policy)
	if err != nil {
		t.Fatal(err)
	}
	return "SERVICE=" + text
}
