package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/examples"
	"github.com/isthmus-io/isthmus/test/processes"
)

// canary stands in everything the contract does not let cross.
const canary = "canary7f3a9c51e2"

// windowLateness is that of the aggregates here: a device may send again what it sent before the hub was killed.
const windowLateness = 20 * time.Second

// crossing is the cross-tenant design in four network namespaces: the plant, the cloud networks of the two tenants, and the internet with
// nothing but the relay (and the control plane behind it).
type crossing struct {
	*world
	lakeFile, blobFile string // connection strings of the far end's readers
}

func startCrossing(t *testing.T, prefix string) *crossing {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sites, err := processes.NewSites(ctx, prefix)
	t.Cleanup(func() { sites.Close() })
	must(t, err)
	for site, dns := range map[string]string{"plant7": "10.7.0.2", "otcloud": "", "itcloud": "10.7.0.2"} {
		must(t, sites.Add(ctx, site, dns))
		lan(t, sites.Name(site))
	}
	ip(t, "-n", sites.Name("otcloud"), "addr", "add", "10.21.0.5/32", "dev", "lan")
	ip(t, "-n", sites.Name("itcloud"), "addr", "add", "10.31.0.5/32", "dev", "lan")
	w := &world{Deployment: processes.New(t.TempDir(), binary), t: t, sites: sites, roles: map[string]*processes.Process{}}
	c := &crossing{world: w, lakeFile: filepath.Join(w.Dir, "lake.txt"), blobFile: filepath.Join(w.Dir, "blob.txt")}
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	inet, relay := sites.Internet(), sites.RelayIP+":443"
	w.control, err = w.StartControl(ctx, inet, "127.0.0.1:7444", relay)
	must(t, err)
	w.roles["server"] = w.control.Process
	// The example's own addresses, and windows that wait for devices whose hub is killed.
	w.apply(ctx, strings.NewReplacer("192.0.2.10", "10.21.0.5", "192.0.2.20", "10.31.0.5", "latenessSeconds: 5", fmt.Sprintf("latenessSeconds: %.0f", windowLateness.Seconds()),
		"idleSeconds: 5", "idleSeconds: 10").Replace(examples.CrossTenant()))
	must(t, w.Join(ctx, inet, inet, "relay", "", "r1", "--address", relay, "--control", "127.0.0.1:7444"))
	w.run(ctx, "relay", inet, "the relay is ready", "relay", "run", "--data-dir", w.Data("r1"), "--listen", relay, "--control", "127.0.0.1:7444")
	for _, m := range []struct {
		kind, role, site, network, at string
	}{
		{"agent", "agent-plant7", "plant7", "ot/plant-7", ""}, {"agent", "agent-otcloud", "otcloud", "ot/ot-cloud", ""}, {"agent", "agent-itcloud", "itcloud", "it/it-cloud", ""},
		{"hub", "hub-ot", "otcloud", "ot/ot-cloud", "10.21.0.5"}, {"hub", "hub-it", "itcloud", "it/it-cloud", "10.31.0.5"},
		{"bridge", "bridge-ot", "otcloud", "ot/ot-cloud", ""}, {"bridge", "bridge-it", "itcloud", "it/it-cloud", ""},
	} {
		must(t, w.Join(ctx, inet, sites.Name(m.site), m.kind, m.network, m.role))
		args, ready := []string{m.kind, "run", "--data-dir", w.Data(m.role)}, "the agent is ready"
		switch m.kind {
		case "agent":
			args = append(args, "--interface", "lan", "--dns", "10.7.0.2:53")
		case "hub":
			args[1], ready = "serve", "the hub is ready"
			args = append(args, "--mqtt", m.at+":8883", "--https", m.at+":443", "--amqp", m.at+":5671")
		}
		w.run(ctx, m.role, sites.Name(m.site), ready, args...)
	}
	must(t, processes.Until(ctx, func() error { return w.dialSite("plant7", "10.7.0.4:8883") }))
	text, err := w.until(ctx, sites.Name("itcloud"), "eventhub", "policy", "connection-string", "RootManageSharedAccessKey", "--data-dir", w.Data("hub-it"))
	must(t, err)
	must(t, os.WriteFile(c.lakeFile, []byte(text), 0o600))
	text, err = w.until(ctx, sites.Name("itcloud"), "storage", "connection-string", "--data-dir", w.Data("hub-it"))
	must(t, err)
	must(t, os.WriteFile(c.blobFile, []byte(text), 0o600))
	return c
}

// until runs a command again until it succeeds: what it asks may be about to come up.
func (w *world) until(ctx context.Context, netns string, args ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = processes.Until(ctx, func() error {
		var err error
		out, err = w.CLI(ctx, netns, "", args...)
		return err
	})
	return out, err
}

// script runs one of the SDKs in a site. Its lines go to said until it ends.
func (c *crossing) script(site string, env []string, args ...string) (stop func(), lines func() []string) {
	c.t.Helper()
	cmd := c.node(context.Background(), site, args...)
	more, err := filepath.Abs("../eventhubs/node_modules")
	must(c.t, err)
	for i, e := range cmd.Env {
		if strings.HasPrefix(e, "NODE_PATH=") {
			cmd.Env[i] = e + string(os.PathListSeparator) + more
		}
	}
	cmd.Env = append(cmd.Env, env...)
	in, err := cmd.StdinPipe()
	must(c.t, err)
	out, err := cmd.StdoutPipe()
	must(c.t, err)
	must(c.t, cmd.Start())
	var mu sync.Mutex // guards said
	var said []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := bufio.NewScanner(out)
		r.Buffer(nil, 8<<20)
		for r.Scan() {
			mu.Lock()
			said = append(said, r.Text())
			mu.Unlock()
		}
	}()
	stop = sync.OnceFunc(func() {
		in.Close()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = cmd.Wait()
	})
	c.t.Cleanup(stop)
	return stop, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said[:len(said):len(said)]
	}
}

// arrived is one event as the far end's SDK shows it.
type arrived struct {
	Partition  string         `json:"partition"`
	Sequence   int64          `json:"sequence"`
	Key        string         `json:"key"`
	Body       reading        `json:"body"`
	Properties map[string]any `json:"properties"`
	System     map[string]any `json:"system"`
	All        string         `json:"all"`
}

// reading is what may cross of a reading.
type reading struct {
	Machine string  `json:"machine"`
	Celsius float64 `json:"celsius"`
	At      string  `json:"at"`
	N       int64   `json:"n"`
}

func (a *arrived) origin() string { s, _ := a.Properties["isthmus-origin"].(string); return s }
func (a *arrived) repeat() bool   { b, _ := a.Properties["isthmus-repeat"].(bool); return b }

// far reads everything at the far end until it is quiet and has at least so many, each event once.
func (c *crossing) far(ctx context.Context, atLeast int) []arrived {
	c.t.Helper()
	stop, lines := c.script("itcloud", nil, "bridge_read.js", c.lakeFile, "telemetry", "people")
	defer stop()
	seen, quiet := -1, 0
	must(c.t, processes.Until(ctx, func() error {
		now := len(lines())
		if now == seen {
			quiet++
		} else {
			seen, quiet = now, 0
		}
		if now < atLeast || quiet < 30 {
			return fmt.Errorf("%d lines of %d", now, atLeast)
		}
		return nil
	}))
	return c.parse(lines())
}

func (c *crossing) parse(lines []string) []arrived {
	c.t.Helper()
	var out []arrived
	for _, l := range lines {
		if !strings.HasPrefix(l, `{"partition"`) {
			continue
		}
		var a arrived
		if err := json.Unmarshal([]byte(l), &a); err != nil {
			c.t.Fatalf("the far end shows %s: %v", l, err)
		}
		out = append(out, a)
	}
	return out
}

// status is that of a bridge.
type status struct {
	State string `json:"state"`
	Why   string `json:"why"`
	Step  string `json:"step"`
	Sent  int64  `json:"sent"`
	Dead  int64  `json:"dead"`
	Lag   int64  `json:"lag"`
	Late  int64  `json:"lateEvents"`
}

func (c *crossing) status(ctx context.Context, bridge string) status {
	c.t.Helper()
	var noun struct{ Status status }
	must(c.t, json.Unmarshal([]byte(c.cli(ctx, "bridge", "show", bridge, "-o", "json")), &noun))
	return noun.Status
}

// sensors send readings until stopped; each line they say is kept.
func (c *crossing) sensors(ctx context.Context, n, every int) (stop func(), acked func() (all, good int)) {
	c.t.Helper()
	var stops []func()
	var said []func() []string
	for i := range n {
		id := fmt.Sprintf("press-%d", i)
		_, err := c.CLI(ctx, c.sites.Name("otcloud"), "", "hub", "device", "create", id, "--data-dir", c.Data("hub-ot"))
		must(c.t, err)
		text, err := c.CLI(ctx, c.sites.Name("otcloud"), "", "hub", "device", "connection-string", id, "--data-dir", c.Data("hub-ot"))
		must(c.t, err)
		file := filepath.Join(c.Dir, id+".txt")
		must(c.t, os.WriteFile(file, []byte(text), 0o600))
		stop, lines := c.script("plant7", []string{"CANARY=" + canary}, "bridge_send.js", file, id, fmt.Sprint(every))
		stops, said = append(stops, stop), append(said, lines)
	}
	return func() {
			for _, s := range stops {
				s()
			}
		}, func() (all, good int) {
			for _, lines := range said {
				for _, l := range lines() {
					if strings.HasPrefix(l, `{"acked"`) {
						all++
						if strings.Contains(l, `"bad":false`) {
							good++
						}
					}
				}
			}
			return all, good
		}
}

// blobs are the rows of the aggregates, by file.
func (c *crossing) blobs(ctx context.Context) map[string][]row {
	c.t.Helper()
	cmd := c.node(ctx, "itcloud", "bridge_blobs.js", c.blobFile, "aggregates")
	more, err := filepath.Abs("../eventhubs/node_modules")
	must(c.t, err)
	cmd.Env = append(cmd.Env, "NODE_PATH="+more)
	text, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // what Output returns
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	must(c.t, err)
	out := map[string][]row{}
	for l := range strings.Lines(string(text)) {
		var b struct{ Name, Content string }
		must(c.t, json.Unmarshal([]byte(l), &b))
		d := json.NewDecoder(strings.NewReader(b.Content))
		for {
			var r row
			err := d.Decode(&r)
			if err == io.EOF {
				break
			}
			must(c.t, err)
			out[b.Name] = append(out[b.Name], r)
		}
	}
	return out
}

// row is one aggregate.
type row struct {
	Start    time.Time `json:"windowStart"`
	End      time.Time `json:"windowEnd"`
	Machine  string    `json:"machine"`
	Readings int64     `json:"readings"`
	Mean     float64   `json:"mean"`
	Least    float64   `json:"least"`
	Most     float64   `json:"most"`
	P95      float64   `json:"p95"`
}
