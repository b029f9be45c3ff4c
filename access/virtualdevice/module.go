package virtualdevice

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Module is the module of IoT Edge that the process is. The desired properties of its twin, virtualDevices, change the devices of a host or add
// to them; the reported ones say how they are.
type Module struct {
	host *Host
	own  []Device
	id   identity
	log  *slog.Logger
	clk  clock.Clock
}

// NewModule returns the module with a connection string, of a module or of a device; own are the devices of the process's own settings.
// trusted are authorities as PEM beside the host's, for the gateway that is dialled; may be empty. Invalid when it is no such string.
func NewModule(host *Host, connection, trusted string, own []Device, log *slog.Logger, clk clock.Clock) (*Module, error) {
	d := Device{ConnectionString: connection}
	id, err := d.identify(host.cfg.Lookup)
	if err != nil {
		return nil, err
	}
	id.trusted = trusted
	return &Module{host, own, id, log.With("module", id.client()), clk}, nil
}

// Topics of a twin (IoT Hub: communicate using MQTT).
const (
	twinReplies   = "$iothub/twin/res/#"
	twinReply     = "$iothub/twin/res/"
	twinChanges   = "$iothub/twin/PATCH/properties/desired/#"
	twinChange    = "$iothub/twin/PATCH/properties/desired/"
	twinGet       = "$iothub/twin/GET/?$rid=get"
	reportedPatch = "$iothub/twin/PATCH/properties/reported/?$rid=patch"
)

// Run follows the twin until ctx ends. Until it is known, and while it is out of reach, the devices are as they were, at first those of the
// process's own settings.
func (m *Module) Run(ctx context.Context) error {
	m.host.Set(overlay(m.own, m.host.cfg.Lookup, nil))
	if m.id.key == "" { // a gateway's certificate is signed by an authority of the device's own
		pause := backoff.Backoff{Base: firstPause, Max: lastPause}
		for {
			var err error
			if m.id.trusted, err = m.host.cfg.Workload.trustBundle(ctx); err == nil {
				break
			}
			m.log.Warn("virtual device: the authorities of IoT Edge are not known", "err", err)
			if !pause.Wait(ctx, m.clk) {
				return nil
			}
		}
	}
	var all sync.WaitGroup
	defer all.Wait()
	note := func(bool, string) {} // the log has it
	m.host.keep(ctx, &m.id, m.log, note, func(ctx context.Context, c *client) func(topic, payload []byte) {
		in := make(chan message, 64)
		all.Go(func() { m.steer(ctx, c, in) })
		return func(topic, payload []byte) {
			select {
			case in <- message{string(topic), append([]byte(nil), payload...)}:
			default:
				c.cut() // something was missed: from the beginning
			}
		}
	}, twinReplies, twinChanges)
	return nil
}

type message struct {
	topic   string
	payload []byte
}

// again is after how long a twin is read once more, should something have been missed.
const again = 10 * time.Minute

// steer carries out what the twin wants and reports, while the connection lasts.
func (m *Module) steer(ctx context.Context, c *client, in <-chan message) {
	var was map[string]json.RawMessage // as the hub has it; nil while it is not known
	_ = c.publish(twinGet, nil)        // the reader tells when it broke
	reread, stopReread := m.clk.After(again)
	defer func() { stopReread() }()
	var due <-chan time.Time
	stopDue := func() {}
	defer func() { stopDue() }()
	later := func() {
		if due == nil {
			due, stopDue = m.clk.After(m.host.cfg.Report)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.host.News():
			later()
		case <-reread:
			_ = c.publish(twinGet, nil)
			reread, stopReread = m.clk.After(again)
		case <-due:
			due = nil
			if was == nil {
				_ = c.publish(twinGet, nil)
				continue
			}
			change, is := patch(was, m.host.Status())
			if change != nil && c.publish(reportedPatch, change) == nil {
				was = is
			}
		case p := <-in:
			switch {
			case strings.HasPrefix(p.topic, twinChange):
				_ = c.publish(twinGet, nil) // whole, so that no patch can be missed
			case strings.HasPrefix(p.topic, twinReply+"200/") && strings.Contains(p.topic, "$rid=get"):
				desired, reported, err := readTwin(p.payload)
				if err != nil {
					m.log.Warn("virtual device: the module's twin is not followed", "err", err)
					continue
				}
				m.host.Set(overlay(m.own, m.host.cfg.Lookup, desired))
				was = reported
				later()
			case strings.HasPrefix(p.topic, twinReply) && !strings.HasPrefix(p.topic, twinReply+"2"):
				m.log.Warn("virtual device: the hub refused what was asked about the module's twin", "answer", clip(p.topic))
				was = nil
				later()
			}
		}
	}
}

// fromWorkload is the module that IoT Edge says this process is.
func fromWorkload(hub, gateway, device, module string) (identity, error) {
	if hub == "" || device == "" || module == "" || !isHost(hub) || gateway != "" && !isHost(gateway) {
		return identity{}, fault.New("virtualdevice.fromWorkload", fault.Invalid, "IOTEDGE_IOTHUBHOSTNAME, IOTEDGE_DEVICEID or IOTEDGE_MODULEID is missing, or no host is where one has to be").
			Advise("the runtime of IoT Edge sets them for its modules")
	}
	i := identity{hub: hub, dial: hub, id: device, module: module}
	if gateway != "" {
		i.dial = gateway
	}
	return i, nil
}
