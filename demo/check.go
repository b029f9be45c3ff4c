package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

// CheckConfig says how much is sent. The zero value sends 200 messages from each of 50 devices.
type CheckConfig struct {
	Devices, Messages int
	Log               *slog.Logger
	// Progress is told how many of all messages are acknowledged, every now and then.
	Progress func(done, all int)
}

// Result is what a check found. OK sums it up.
type Result struct {
	Sent              int     `json:"sent"`
	Received          int     `json:"received"`
	Lost              int     `json:"lost"`
	Duplicated        int     `json:"duplicated"`
	Changed           int     `json:"changed"`           // arrived other than sent
	Resolved          string  `json:"resolved"`          // where the hub's name led
	PublicSideRefused bool    `json:"publicSideRefused"` // the hub turned away a device that came past the endpoint
	PendingPasses     bool    `json:"pendingPasses"`     // the endpoint nobody approved let something through
	RelaySawPlaintext bool    `json:"relaySawPlaintext"`
	RelayBytes        int64   `json:"relayBytes"`
	Visit             Visit   `json:"visit"`
	Seconds           float64 `json:"seconds"`
}

// OK tells whether all is well.
func (r Result) OK() bool {
	return r.Sent > 0 && r.Received == r.Sent && r.Lost == 0 && r.Duplicated == 0 && r.Changed == 0 && r.Resolved != "" && r.PublicSideRefused &&
		!r.PendingPasses && !r.RelaySawPlaintext && r.RelayBytes > 0 && r.Visit.OK()
}

// Check builds the world, sends, reads everything back and compares.
func Check(ctx context.Context, cfg CheckConfig) (res Result, err error) {
	if cfg.Devices <= 0 {
		cfg.Devices = 50
	}
	if cfg.Messages <= 0 {
		cfg.Messages = 200
	}
	began := time.Now()
	w, err := testworld.Start(ctx, testworld.Config{Log: cfg.Log})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	s, err := w.Standard(ctx)
	if err != nil {
		return res, err
	}
	marker := newMarker()
	w.Tap.Look([]byte(marker))
	addrs, err := s.Resolver(s.PlantDNS).LookupHost(ctx, testworld.HubName)
	if err != nil {
		return res, fault.Wrap("demo.Check", fault.Unavailable, err, "the plant's resolver does not know the hub: "+err.Error())
	}
	res.Resolved = addrs[0]
	sent, err := send(ctx, s, cfg, marker)
	if err != nil {
		return res, err
	}
	res.Sent = len(sent)
	h, err := s.Hub()
	if err != nil {
		return res, err
	}
	if err := compare(ctx, h, sent, &res); err != nil {
		return res, err
	}
	if err := passPlaintext(ctx, s, marker); err != nil {
		return res, err
	}
	if res.Visit, err = visit(ctx, s, marker); err != nil {
		return res, err
	}
	res.RelaySawPlaintext, res.RelayBytes = w.Tap.Seen() > 0, w.Tap.Bytes()
	res.PublicSideRefused = knock(ctx, s) == nil
	res.PendingPasses = pendingPasses(ctx, s)
	res.Seconds = time.Since(began).Seconds()
	return res, nil
}

func newMarker() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return "isthmus-marker-" + hex.EncodeToString(b)
}

// message is what was sent under one id.
type message struct {
	body string
	unit string
}

func bodyOf(device string, i int, marker string) string {
	return fmt.Sprintf(`{"sensor":%q,"n":%d,"celsius":%.1f,"mark":%q}`, device, i, 20+float64(i%100)/10, marker)
}

// send lets every device send all its messages and returns those that were acknowledged, which are all.
func send(ctx context.Context, s *testworld.Scenario, cfg CheckConfig, marker string) (map[string]message, error) {
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards sent
	sent := make(map[string]message, cfg.Devices*cfg.Messages)
	g, ctx := errgroup.WithContext(ctx)
	for i := range cfg.Devices {
		id := fmt.Sprintf("sensor-%03d", i+1)
		text, err := s.Device(ctx, id)
		if err != nil {
			return nil, err
		}
		g.Go(func() error {
			d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS)})
			if err != nil {
				return err
			}
			defer d.Close()
			acks := make([]<-chan error, cfg.Messages)
			for n := range cfg.Messages {
				body, unit := bodyOf(id, n, marker), fmt.Sprintf("°C & %d%%", n)
				if acks[n], err = d.Start(ctx, []byte(body), map[string]string{"id": fmt.Sprintf("%s/%d", id, n), "unit": unit}); err != nil {
					return err
				}
				mu.Lock()
				sent[fmt.Sprintf("%s/%d", id, n)] = message{body, unit}
				mu.Unlock()
			}
			for _, ack := range acks {
				select {
				case err := <-ack:
					if err != nil {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if cfg.Progress != nil {
				mu.Lock()
				defer mu.Unlock()
				cfg.Progress(len(sent), cfg.Devices*cfg.Messages)
			}
			return nil
		})
	}
	return sent, g.Wait()
}

// compare reads the whole log and holds it against what was sent.
func compare(ctx context.Context, h *hub.Hub, sent map[string]message, res *Result) error {
	seen := map[string]int{}
	partitions, err := h.Partitions(ctx)
	if err != nil {
		return err
	}
	for p := range partitions {
		from, next := h.Bounds(p)
		for from < next {
			evs, err := h.Events(ctx, p, from, 1000)
			if err != nil {
				return err
			}
			if len(evs) == 0 {
				return fault.Newf("demo.Check", fault.Internal, "partition %d ends at %d, before %d", p, from, next)
			}
			for _, e := range evs {
				from = e.Sequence + 1
				res.Received++
				id := e.Properties["id"]
				want, ok := sent[id]
				if !ok || string(e.Body) != want.body || e.Properties["unit"] != want.unit || len(e.Properties) != 2 {
					res.Changed++
				}
				if seen[id]++; seen[id] > 1 {
					res.Duplicated++
				}
			}
		}
	}
	for id := range sent {
		if seen[id] == 0 {
			res.Lost++
		}
	}
	return nil
}

// passPlaintext sends the marker through a tcp service, which has no encryption of its own, to a listener that echoes.
func passPlaintext(ctx context.Context, s *testworld.Scenario, marker string) error {
	op := "demo.Check"
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Historian.String())
	if err != nil {
		return err
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- nil
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		b, _ := io.ReadAll(c) // compared below
		_, _ = c.Write(b)
		got <- b
	}()
	e, err := s.Endpoint(ctx, "ot/plant-7/historian")
	if err != nil {
		return err
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(e.Status.Address, s.Historian.Port()).String())
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the historian's endpoint does not answer: "+err.Error())
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	text := bytes.Repeat([]byte(marker+"\n"), 100)
	if _, err := c.Write(text); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	back, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, text) || !bytes.Equal(<-got, text) {
		return fault.New(op, fault.Internal, "the historian's echo came back changed")
	}
	return nil
}

// knock tries the hub's public side with a good device key, past every endpoint. It returns nil when that is refused.
func knock(ctx context.Context, s *testworld.Scenario) error {
	text, err := s.Device(ctx, "stray")
	if err != nil {
		return err
	}
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return err
	}
	d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Address: netip.AddrPortFrom(s.HubDirect, testworld.MQTTPort).String()})
	if err == nil {
		d.Close()
		return fault.New("demo.Check", fault.Internal, "the hub's public side is open")
	}
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	return nil
}

func pendingPasses(ctx context.Context, s *testworld.Scenario) bool {
	d := net.Dialer{Timeout: 2 * time.Second}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(s.OfficeEndpoint, testworld.MQTTPort).String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}
