package eventhubs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/casebook"
)

// patience is how long a test waits for anything at all before it says what it waits for and fails.
const patience = time.Minute

// sdk is somebody else's client, with a program that puts it under a test's hand.
type sdk struct {
	name string
	with casebook.With
	argv func(t *testing.T) []string
}

var (
	js = sdk{"Node.js", npm("@azure/event-hubs"), func(t *testing.T) []string {
		t.Helper()
		if _, err := os.Stat("node_modules/@azure/event-hubs"); err != nil {
			t.Fatal("the SDK is not installed: run make deps")
		}
		return []string{"node", "driver.js"}
	}}
	golang = sdk{"Go", casebook.With{Name: "azeventhubs", Version: "2.0.2"}, func(t *testing.T) []string {
		t.Helper()
		return []string{build(t, "driver", "./driver", "build")}
	}}
	golangNext = sdk{"Go with go-amqp 1.7.0", casebook.With{Name: "azeventhubs with go-amqp 1.7.0", Version: "2.0.2"}, func(t *testing.T) []string {
		t.Helper()
		return []string{build(t, "driver-next", "./driver", "build", "-modfile=go-amqp-1.7.0.mod")}
	}}
	proton = sdk{"Proton", withProton, func(*testing.T) []string { return []string{"/usr/bin/python3", "peer.py"} }} // Debian's, which alone has its packages

	both = []sdk{js, golang}
)

// m is a request's fields.
type m = map[string]any

// answer is what a driver said.
type answer m

func (a answer) text(key string) string {
	v, _ := a[key].(string)
	return v
}

func (a answer) number(key string) int64 {
	v, _ := a[key].(float64)
	return int64(v)
}

// at returns what is in an answer at a path such as "error.code".
func (a answer) at(path string) any {
	var v any = m(a)
	for key := range strings.SplitSeq(path, ".") {
		inner, _ := v.(m)
		v = inner[key]
	}
	return v
}

// events are those in an answer.
func (a answer) events() []answer {
	list, _ := a["events"].([]any)
	out := make([]answer, len(list))
	for i, e := range list {
		out[i] = answer(e.(m))
	}
	return out
}

// bodies are those of an answer's events.
func (a answer) bodies() []string {
	var out []string
	for _, e := range a.events() {
		out = append(out, e.text("body"))
	}
	return out
}

// errs are the errors that reached a reader, each as the SDK's words for it.
func (a answer) errs() []answer {
	list, _ := a["errors"].([]any)
	out := make([]answer, len(list))
	for i, e := range list {
		out[i] = answer(e.(m))
	}
	return out
}

// driver is a running program of an sdk, in the hands of one test.
type driver struct {
	t *testing.T
	*program
}

// in is the same program in the hands of a subtest.
func (d *driver) in(t *testing.T) *driver { return &driver{t, d.program} }

type program struct {
	sdk  sdk
	kill context.CancelFunc

	mu      sync.Mutex // guards the fields below
	stdin   io.Writer
	asked   int
	waiting map[int]chan answer
	said    string // the last line
	ended   bool
}

// start runs the program until the test ends; env is NAME=value.
func (s sdk) start(t *testing.T, env ...string) *driver {
	t.Helper()
	argv := s.argv(t)
	ctx, kill := context.WithCancel(context.Background()) // ended by the cleanup below
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	d := &driver{t, &program{sdk: s, kill: kill, stdin: in, waiting: map[int]chan answer{}}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		d.listen(out)
	}()
	t.Cleanup(func() {
		_ = in.Close() // which asks it to end
		late := time.AfterFunc(patience, func() {
			t.Errorf("the driver of %s does not end", s.name)
			kill()
		})
		if t.Failed() {
			kill()
		}
		<-read
		_ = c.Wait() // how it ends is no test's business
		late.Stop()
		kill()
	})
	return d
}

// listen hands answers to those who asked.
func (d *program) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a answer
		err := json.Unmarshal(lines.Bytes(), &a)
		d.mu.Lock()
		d.said = lines.Text()
		ask := d.waiting[int(a.number("id"))]
		delete(d.waiting, int(a.number("id")))
		d.mu.Unlock()
		if err == nil && ask != nil {
			ask <- a
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for _, ask := range d.waiting {
		close(ask)
	}
}

// begin asks for something and returns where the answer will come; closed when the program ended before.
func (d *driver) begin(do string, fields ...m) <-chan answer {
	d.t.Helper()
	all := m{"do": do}
	for _, f := range fields {
		for k, v := range f {
			all[k] = v
		}
	}
	to := make(chan answer, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	all["id"] = d.asked
	line, err := json.Marshal(all)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.ended {
		close(to)
		return to
	}
	d.waiting[d.asked] = to
	if _, err := d.stdin.Write(append(line, '\n')); err != nil {
		d.t.Fatalf("the driver of %s has ended: %v", d.sdk.name, err)
	}
	return to
}

// try asks for something and returns the answer, with its error if there is one.
func (d *driver) try(do string, fields ...m) answer {
	d.t.Helper()
	return d.await(do, d.begin(do, fields...))
}

// await waits for what begin asked for.
func (d *driver) await(do string, to <-chan answer) answer {
	d.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a, ok := <-to:
		if !ok {
			d.t.Fatalf("the driver of %s ended while it had to %q; it said last: %.500s", d.sdk.name, do, d.said)
		}
		return a
	case <-late.C:
		d.t.Fatalf("%s: %q is not done after %v", d.sdk.name, do, patience)
	}
	return nil
}

// must asks for something that has to succeed.
func (d *driver) must(do string, fields ...m) answer {
	d.t.Helper()
	return d.good(do, d.try(do, fields...))
}

func (d *driver) good(do string, a answer) answer {
	d.t.Helper()
	if a["error"] != nil {
		d.t.Fatalf("%s: %q: %v", d.sdk.name, do, a["error"])
	}
	return a
}

// fails asks for something that must not succeed, and returns the error.
func (d *driver) fails(do string, fields ...m) answer {
	d.t.Helper()
	a := d.try(do, fields...)
	e, ok := a["error"].(m)
	if !ok {
		d.t.Fatalf("%s: %q succeeds: %v", d.sdk.name, do, a)
	}
	return answer(e)
}

// receives waits until a reader has count events, and no error.
func (d *driver) receives(reader, partition string, count int, more ...m) []answer {
	d.t.Helper()
	a := d.must("receive", append([]m{{"reader": reader, "partition": partition, "count": count}}, more...)...)
	if got := a.events(); len(got) != count || len(a.errs()) > 0 {
		d.t.Fatalf("%s: %s has %d events of %d, errors %v", d.sdk.name, reader, len(got), count, a.errs())
	}
	return a.events()
}

// loses waits until an error reaches a reader, and returns it.
func (d *driver) loses(reader, partition string) answer {
	d.t.Helper()
	a := d.must("receive", m{"reader": reader, "partition": partition, "count": 1 << 20})
	if len(a.errs()) == 0 {
		d.t.Fatalf("%s: no error reaches %s", d.sdk.name, reader)
	}
	return a.errs()[0]
}

// texts are events with these bodies.
func texts(bodies ...string) m {
	list := []m{}
	for _, b := range bodies {
		list = append(list, m{"body": b})
	}
	return m{"events": list}
}

// numbered are count bodies.
func numbered(prefix string, count int) []string {
	out := make([]string, count)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

// wantBodies checks the bodies of events.
func wantBodies(t *testing.T, got []answer, want ...string) {
	t.Helper()
	if have := (answer{"events": anys(got)}).bodies(); !slices.Equal(have, want) {
		t.Errorf("the events are %.300q, want %.300q", have, want)
	}
}

func anys(list []answer) []any {
	out := make([]any, len(list))
	for i, a := range list {
		out[i] = m(a)
	}
	return out
}
