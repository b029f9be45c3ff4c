package main

import (
	"context"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// devView is what a program has to know of a hub that runs.
type devView struct {
	HostName    string            `json:"hostName"`
	MQTT        []string          `json:"mqtt"`
	HTTPS       []string          `json:"https"`
	AMQP        []string          `json:"amqp"`
	CA          string            `json:"ca"`
	DataDir     string            `json:"dataDir"`
	Service     string            `json:"serviceConnectionString"`
	Telemetry   string            `json:"builtInEndpointConnectionString"` // what an SDK of Event Hubs reads the hub's events with
	Devices     map[string]string `json:"deviceConnectionStrings"`
	DPSHostName string            `json:"provisioningHostName,omitempty"`
	IDScope     string            `json:"idScope,omitempty"`
	DPSService  string            `json:"provisioningConnectionString,omitempty"`
	Namespace   string            `json:"eventHubsHostName,omitempty"`
	Events      string            `json:"eventHubsConnectionString,omitempty"`      // of the whole namespace
	EventsPlain string            `json:"eventHubsPlainConnectionString,omitempty"` // the same without TLS

	Storage        string            `json:"storageConnectionString,omitempty"`
	EventHubs      map[string]string `json:"eventHubConnectionStrings,omitempty"`
	EventHubsPlain map[string]string `json:"eventHubPlainConnectionStrings,omitempty"`
}

// namespace makes the event hubs that are wanted and finds what is to be told of them.
func (v *devView) namespace(ctx context.Context, n *eventhub.Namespace, cfg node.LocalHubConfig, eventHubs []string) error {
	v.Namespace, v.EventHubs = n.HostName(), map[string]string{}
	port := otherPort(cfg.AMQP[max(len(cfg.AMQP)-1, 0):])
	texts := func(name string) (secure, plain string, err error) {
		s, err := n.ConnectionString(name, eventhub.PolicyRoot, eventhub.Primary)
		if err != nil {
			return "", "", err
		}
		s.Port = port
		secure = s.String()
		if len(cfg.PlainAMQP) > 0 {
			host, p, err := net.SplitHostPort(cfg.PlainAMQP[0])
			if err != nil {
				return "", "", fault.Wrap("isthmus.hub", fault.Invalid, err, "an address is host:port")
			}
			if host == "127.0.0.1" {
				host = "localhost"
			}
			s.HostName, s.Port, s.Plain = host, p, true
			plain = s.String()
		}
		return secure, plain, nil
	}
	var err error
	if v.Events, v.EventsPlain, err = texts(""); err != nil {
		return err
	}
	for _, name := range eventHubs {
		if _, err := n.CreateEventHub(ctx, name, eventhub.Settings{}); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
		secure, plain, err := texts(name)
		if err != nil {
			return err
		}
		v.EventHubs[name] = secure
		if plain != "" {
			if v.EventHubsPlain == nil {
				v.EventHubsPlain = map[string]string{}
			}
			v.EventHubsPlain[name] = plain
		}
	}
	return nil
}

// otherPort is the port of the first of some addresses, empty when it is AMQP's own or there is none.
func otherPort(addresses []string) string {
	if len(addresses) == 0 {
		return ""
	}
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil || port == "5671" {
		return ""
	}
	return port
}

// telemetry is the connection string of the hub's built-in endpoint, with the right to read and no other.
func telemetry(h *hub.Hub, cfg node.LocalHubConfig) (string, error) {
	text, err := builtin.ConnectionString(h, hub.PolicyService, hub.Primary)
	if err != nil {
		return "", err
	}
	c, err := sas.ParseEventHubs(text)
	if err != nil {
		return "", err
	}
	c.Port = otherPort(cfg.AMQP)
	return c.String(), nil
}

// fitDev leaves out what this machine has no addresses for, unless somebody asked for it.
func fitDev(c *cobra.Command, cfg *node.LocalHubConfig) error {
	changed := c.Flags().Changed
	if !loopback(c.Context(), "127.0.0.2") {
		if !changed("provisioning-host") {
			cfg.ProvisioningHosts = nil
			cfg.MQTT = cfg.MQTT[:1]
		}
		if !changed("event-hubs-host") {
			cfg.NamespaceHosts = []string{"event-hubs.localhost"} // by the plain listener, whatever it is called
		}
		if !changed("https") {
			cfg.HTTPS = cfg.HTTPS[:1]
		}
		if !changed("amqp") {
			cfg.AMQP = cfg.AMQP[:1]
		}
	}
	for i, a := range cfg.PlainAMQP {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fault.Newf("isthmus.hub", fault.Invalid, "%.80q is no address of this machine alone", a).
				Advise("without TLS event hubs are for this machine: --event-hubs-plain 127.0.0.1:5672")
		}
		if !changed("event-hubs-plain") && !isFree(c.Context(), a) {
			cfg.PlainAMQP = append(cfg.PlainAMQP[:i:i], cfg.PlainAMQP[i+1:]...)
			break
		}
	}
	return nil
}

// tellDev creates the devices and event hubs that are wanted and says how to reach everything.
func tellDev(ctx context.Context, w *world, out *output, s node.LocalServices, cfg node.LocalHubConfig, devices, eventHubs []string) error {
	h, p := s.Hub, s.Provisioning
	v := devView{HostName: h.HostName(), MQTT: cfg.MQTT, HTTPS: cfg.HTTPS, AMQP: cfg.AMQP, CA: s.AuthorityFile, DataDir: cfg.DataDir, Devices: map[string]string{}}
	if p != nil {
		var err error
		if v.DPSService, err = p.ConnectionString(provisioning.PolicyOwner); err != nil {
			return err
		}
		v.DPSHostName, v.IDScope = p.HostName(), p.Scope()
	}
	for _, id := range devices {
		if _, err := h.CreateDevice(ctx, hubstore.Device{ID: id}); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
		text, err := h.DeviceConnectionString(ctx, id)
		if err != nil {
			return err
		}
		// MQTT is the one protocol of which SDKs take another port from the connection string.
		if _, port, err := net.SplitHostPort(cfg.MQTT[0]); err == nil && port != "8883" {
			text = strings.Replace(text, "HostName="+h.HostName(), "HostName="+net.JoinHostPort(h.HostName(), port), 1)
		}
		v.Devices[id] = text
	}
	var err error
	if v.Service, err = h.PolicyConnectionString(hub.PolicyOwner); err != nil {
		return err
	}
	if v.Telemetry, err = telemetry(h, cfg); err != nil {
		return err
	}
	if s.Namespace != nil {
		if err := v.namespace(ctx, s.Namespace, cfg, eventHubs); err != nil {
			return err
		}
	}
	if err := v.storage(s, cfg); err != nil {
		return err
	}
	if out.structured() {
		return out.write(w, v)
	}
	w.printf("The hub serves devices on %s and HTTPS on %s, AMQP on %s.\n\n", list(cfg.MQTT), list(cfg.HTTPS), list(cfg.AMQP))
	rows := [][2]string{{"Trust", "NODE_EXTRA_CA_CERTS=" + s.AuthorityFile}}
	for _, id := range devices {
		rows = append(rows, [2]string{"Device " + id, v.Devices[id]})
	}
	rows = append(rows, [2]string{"Service", v.Service}, [2]string{"Read events", v.Telemetry})
	if p != nil {
		rows = append(rows, [2]string{"Provisioning", v.DPSHostName + ", id scope " + v.IDScope}, [2]string{"Enrollments", v.DPSService})
	}
	for _, name := range eventHubs {
		rows = append(rows, [2]string{"Event hub " + name, v.EventHubs[name]})
		if text, ok := v.EventHubsPlain[name]; ok {
			rows = append(rows, [2]string{"  without TLS", text})
		}
	}
	if v.Storage != "" {
		rows = append(rows, [2]string{"Blobs", v.Storage})
	}
	w.pairs(rows...)
	here := ""
	if cfg.DataDir != defaultHubDir(w) {
		here = " --data-dir " + cfg.DataDir
	}
	if len(devices) == 0 {
		w.printf("\nMake a device:  isthmus hub device create press-1%s\n", here)
	}
	w.printf("\nWatch:          isthmus hub events --follow%s\nEnd with Ctrl-C.\n", here)
	return nil
}
