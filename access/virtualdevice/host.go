package virtualdevice

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Config is what devices of one process share. The zero value works.
type Config struct {
	Roots *x509.CertPool // of hubs; nil: the system's
	// Dial dials hubs; nil: directly. Addresses of streams are always dialled directly.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Lookup   func(variable string) string // environment variables; nil: this process's
	Workload *Workload                    // signs for the module that this process is; nil: it has a key, or is none
	Report   time.Duration                // how long news waits for more of it before a module's twin has it; 5 s
}

// Host plays devices.
type Host struct {
	cfg    Config
	log    *slog.Logger
	clk    clock.Clock
	news   chan struct{} // something about a device changed; of one place
	saying chan struct{} // rejections on their way

	setting sync.Mutex // held while settings are carried out; taken before mu

	mu      sync.Mutex // guards the fields below
	ctx     context.Context
	all     sync.WaitGroup     // of devices; Add only under mu while ctx lives
	devices map[string]*device // by name
	idle    []Status           // of those that do not run
}

// maxSaying bounds the rejections that wait to be sent.
const maxSaying = 256

// New returns a host without devices.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Host {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Lookup == nil {
		cfg.Lookup = os.Getenv
	}
	if cfg.Report <= 0 {
		cfg.Report = 5 * time.Second
	}
	return &Host{cfg: cfg, log: log, clk: clk, news: make(chan struct{}, 1), saying: make(chan struct{}, maxSaying), devices: map[string]*device{}}
}

// Status is how a device is.
type Status struct {
	Name      string
	Device    string // its id, with a slash and the module's id for a module; empty when the settings do not say
	Hub       string
	Enabled   bool
	Connected bool
	Sessions  int
	Problem   string // in words; empty: none
}

// Status returns how all devices of the settings are, by name.
func (h *Host) Status() []Status {
	h.mu.Lock()
	out := slices.Clone(h.idle)
	running := slices.Collect(maps.Values(h.devices))
	h.mu.Unlock()
	for _, d := range running {
		out = append(out, d.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// News returns a channel that has something when Status has changed.
func (h *Host) News() <-chan struct{} { return h.news }

func (h *Host) stir() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// Run plays the devices until ctx ends, and returns when all of it has ended. It may be called once.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.ctx != nil {
		h.mu.Unlock()
		return fault.New("virtualdevice.Run", fault.Internal, "the host was started before")
	}
	h.ctx = ctx
	for _, d := range h.devices {
		h.start(d)
	}
	h.mu.Unlock()
	<-ctx.Done()
	h.settle()
	h.all.Wait()
	return nil
}

// settle returns when whoever starts a device has done so; the context has ended, so nobody does from here on.
func (h *Host) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

// start makes a device run, if the host does. The caller holds mu.
func (h *Host) start(d *device) {
	if h.ctx == nil {
		return
	}
	if h.ctx.Err() != nil {
		close(d.done)
		return
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(h.ctx)
	h.all.Go(func() { d.run(ctx) })
}

// Set makes these, and no others, the devices. What is not there any more, is disabled or leads elsewhere has stopped when it returns; what stays
// as it was is not touched. A device whose settings are wrong is in Status with its problem.
func (h *Host) Set(list []Device) {
	h.setting.Lock()
	defer h.setting.Unlock()
	type wanted struct {
		id      identity
		streams map[string]string
		most    int
		wrong   []string
	}
	want := map[string]wanted{}
	known := map[string]bool{} // hub and client
	var idle []Status
	for n, one := range list {
		id, err := one.identify(h.cfg.Lookup)
		name, lerr := one.label(id)
		s := Status{Name: name, Device: id.client(), Hub: id.hub, Enabled: one.enabled()}
		_, twice := want[name]
		switch {
		case n >= MaxDevices:
			s.Problem = "there are too many devices"
		case err != nil:
			s.Problem = words(err)
		case lerr != nil:
			s.Problem = words(lerr)
		case twice, known[id.hub+" "+id.client()]:
			s.Problem = "the device, or its name, is in the settings twice: the first one counts"
		case one.enabled():
			w := wanted{id: id, most: one.most()}
			w.streams, w.wrong = one.checkStreams()
			want[name], known[id.hub+" "+id.client()] = w, true
			continue
		}
		if s.Problem != "" {
			h.log.Warn("virtual device: wrong settings", "name", s.Name, "problem", s.Problem)
		}
		idle = append(idle, s)
	}
	h.mu.Lock()
	h.idle = idle
	var gone []*device
	stay := map[*device]wanted{}
	for name, d := range h.devices {
		if w, ok := want[name]; ok && w.id == d.id {
			stay[d] = w
			delete(want, name)
			continue
		}
		delete(h.devices, name)
		if d.cancel != nil { // it runs
			d.cancel()
			gone = append(gone, d)
		}
	}
	h.mu.Unlock()
	for _, d := range gone {
		<-d.done // before another may take its identity
	}
	for d, w := range stay {
		d.set(w.streams, w.most, w.wrong)
	}
	h.mu.Lock()
	for name, w := range want {
		d := &device{
			host: h, name: name, id: w.id, log: h.log.With("device", w.id.client()), done: make(chan struct{}),
			streams: w.streams, most: w.most, wrong: w.wrong, visits: map[*visit]struct{}{}, dead: map[string]string{},
		}
		h.devices[name] = d
		h.start(d)
	}
	h.mu.Unlock()
	h.stir()
}

// tls is how a hub is recognised: by the name that is dialled.
func (h *Host) tls(i *identity, host string) *tls.Config {
	roots := h.cfg.Roots
	if i.trusted != "" {
		if roots == nil {
			roots, _ = x509.SystemCertPool() // nil where there is none
		}
		if roots == nil {
			roots = x509.NewCertPool()
		}
		roots = roots.Clone()
		roots.AppendCertsFromPEM([]byte(i.trusted))
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host}
}
