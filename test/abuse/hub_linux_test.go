package abuse

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

// Where a hub's own API begins, and its version.
const (
	contoso = "https://" + processes.Contoso
	fleet   = "https://" + processes.Fleet
	v2021   = "?api-version=2021-04-12"
)

// site is a hub process that runs.
type site struct {
	*running
	hub   *processes.Hub
	api   *hubclient.Client // the owner of Contoso
	web   *processes.Web
	owner sas.ConnectionString
}

// startHub runs a hub process with its control plane; more are further arguments.
func startHub(t testing.TB, more ...string) *site {
	t.Helper()
	d := deployment(t)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	h, err := d.StartHub(ctx, more...)
	must(t, err)
	s := &site{running: &running{h.Process, t}, hub: h, web: h.Web("")}
	t.Cleanup(s.web.CloseIdleConnections)
	s.owner, err = h.Policy(ctx, processes.Contoso, "iothubowner")
	must(t, err)
	s.api, err = hubclient.New(hubclient.Config{Connection: s.owner, Address: h.HTTPS, Roots: h.Roots}, clock.System{})
	must(t, err)
	t.Cleanup(s.api.Close)
	return s
}

// token is one of the owner's.
func (s *site) token() string { return s.policy(s.owner, time.Hour) }

func (s *site) policy(c sas.ConnectionString, lasts time.Duration) string {
	s.t.Helper()
	text, err := sas.Sign(c.HostName, c.Key, c.Policy, time.Now().Add(lasts))
	must(s.t, err)
	return text
}

// create makes a device, or a module, and returns how it connects.
func (s *site) create(id string) device.Config {
	s.t.Helper()
	own, module, _ := strings.Cut(id, "/")
	d, err := s.api.Create(s.t.Context(), hubclient.Device{ID: own, ModuleID: module})
	must(s.t, err)
	return device.Config{Address: s.hub.MQTT, TLS: s.hub.TLS(processes.Contoso), ID: id, Key: d.Authentication.Keys.Primary}
}

// crowd makes n devices, named by their number.
func (s *site) crowd(prefix string, n int) {
	s.t.Helper()
	for first := 0; first < n; first += hubclient.MaxBulk {
		var changes []hubclient.Change
		for i := first; i < min(n, first+hubclient.MaxBulk); i++ {
			changes = append(changes, hubclient.Change{Device: hubclient.Device{ID: fmt.Sprintf("%s%06d", prefix, i)}, Mode: hubclient.ToCreate})
		}
		failed, err := s.api.Change(s.t.Context(), changes)
		must(s.t, err)
		if len(failed) > 0 {
			s.t.Fatal(failed)
		}
	}
}

// connect has a device connect, until the test ends.
func (s *site) connect(c device.Config) *device.Device {
	s.t.Helper()
	d, err := device.Dial(s.t.Context(), c)
	must(s.t, err)
	s.t.Cleanup(d.Close)
	return d
}

// ask sends a request and returns the answer, which must come.
func (s *site) ask(method, url, token, body string, header ...string) processes.Reply {
	s.t.Helper()
	r, err := s.web.Ask(s.t.Context(), method, url, token, []byte(body), header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

// bystanders are those who use a hub properly: a device that sends and reports, a service that reads, and devices that come and go.
type bystanders struct {
	all    []*steady
	before []lap
}

// bystanders has them do so from now on.
func (s *site) bystanders() *bystanders {
	s.t.Helper()
	calm := s.connect(s.create("calm"))
	acked := make(chan struct{}, 1)
	send := func() error {
		if err := calm.Send("", []byte("all is well"), false, func() { acked <- struct{}{} }); err != nil {
			return err
		}
		select {
		case <-acked:
			return nil
		case <-time.After(patient):
			return fmt.Errorf("no PUBACK in %v", patient)
		case <-calm.Ended():
			return device.ErrEnded
		}
	}
	reports := s.connect(s.create("reporter"))
	var n int
	report := func() error {
		n++
		_, err := reports.Report(s.t.Context(), fmt.Appendf(nil, `{"n":%d}`, n))
		return err
	}
	read := func() error {
		t, err := s.api.Twin(s.t.Context(), "reporter")
		if err == nil && !json.Valid(t.Properties.Reported) {
			err = fmt.Errorf("the twin is %s", t.Properties.Reported)
		}
		return err
	}
	visitor := s.create("visitor")
	limit := 2 // connects a second are a device's
	visit := func() error {
		d, err := device.Dial(s.t.Context(), visitor)
		if err != nil {
			return err
		}
		d.Leave()
		return nil
	}
	b := &bystanders{all: []*steady{
		use(s.t, "telemetry", 10*time.Millisecond, send), use(s.t, "reports", 10*time.Millisecond, report),
		use(s.t, "reading", 20*time.Millisecond, read), use(s.t, "coming and going", time.Second/time.Duration(limit), visit),
	}}
	for i, one := range b.all {
		least := 30
		if i == len(b.all)-1 {
			least = 2
		}
		one.served(least)
	}
	for _, one := range b.all {
		b.before = append(b.before, one.lap("before"))
	}
	return b
}

// fine ends a lap of abuse: everybody was served at least so many times a second, and those who come and go once a lap; and it says how
// much slower they were than before, by their medians.
func (b *bystanders) fine(name string, least float64) {
	for i, one := range b.all {
		one.t.Helper()
		l := one.lap(name)
		want := least
		if i == len(b.all)-1 {
			want = 0
		}
		if l.n == 0 || l.rate < want || l.p99 > tolerable {
			one.t.Errorf("%s, %s: %d were served, %.0f a second, wanted %.0f, with 99 of 100 in %v, wanted %v", one.what, name, l.n, l.rate, want, l.p99, tolerable)
		}
		one.t.Logf("%s, %s: a median %.1f times and a 99th percentile %.1f times that of before", one.what, name,
			float64(l.median)/float64(max(b.before[i].median, 1)), float64(l.p99)/float64(max(b.before[i].p99, 1)))
	}
}

func (b *bystanders) stop() {
	for _, one := range b.all {
		one.stop()
	}
}

// tlsOver is TLS on a connection that is there.
func tlsOver(raw net.Conn, c device.Config) net.Conn { return tls.Client(raw, c.TLS) }
