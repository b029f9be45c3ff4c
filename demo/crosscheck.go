package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/testworld"
)

// CrossResult is what a check of the cross-tenant design found. OK sums it up.
type CrossResult struct {
	Sent          int     `json:"sent"`          // by devices, within the contract
	Broken        int     `json:"broken"`        // sent by devices, and against it
	BeforeYes     int     `json:"beforeYes"`     // crossed before both sides had agreed
	Crossed       int     `json:"crossed"`       // once each
	Repeats       int     `json:"repeats"`       // second copies
	Unmarked      int     `json:"unmarked"`      // of these, without the mark
	Unagreed      int     `json:"unagreed"`      // hold what the contract does not name
	DeadLetters   int     `json:"deadLetters"`   // kept in the plant's tenant
	Rows          int     `json:"rows"`          // of aggregates
	Counted       int     `json:"counted"`       // readings these rows say they are of
	AfterNo       int     `json:"afterNo"`       // crossed after the approval was taken back
	CrossedPerSec float64 `json:"crossedPerSec"` // from the second yes to the last event
	Seconds       float64 `json:"seconds"`
}

// OK tells whether all is well.
func (r CrossResult) OK() bool {
	return r.Sent > 0 && r.BeforeYes == 0 && r.Crossed == r.Sent && r.Unmarked == 0 && r.Unagreed == 0 && r.DeadLetters == r.Broken && r.Counted == r.Sent && r.AfterNo == 0
}

// CheckCrossTenant builds the cross-tenant design, sends, agrees, and compares what is in the office with what was sent.
func CheckCrossTenant(ctx context.Context, cfg CheckConfig) (res CrossResult, err error) {
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
	s, err := w.CrossTenant(ctx)
	if err != nil {
		return res, err
	}
	if err := sendReadings(ctx, s, cfg, &res, 0); err != nil {
		return res, err
	}
	res.BeforeYes = len(arrivals(ctx, s))
	if err := errors.Join(s.Approve(ctx), s.Accept(ctx)); err != nil {
		return res, err
	}
	yes := time.Now()
	if err := awaitCrossed(ctx, s, &res); err != nil {
		return res, err
	}
	res.CrossedPerSec = float64(res.Sent) / time.Since(yes).Seconds()
	if err := s.Reject(ctx); err != nil {
		return res, err
	}
	pause(ctx, time.Second) // by then it must have stopped
	before := len(arrivals(ctx, s))
	if err := sendReadings(ctx, s, cfg, &res, cfg.Messages); err != nil {
		return res, err
	}
	res.AfterNo = len(arrivals(ctx, s)) - before
	if err := s.Approve(ctx); err != nil {
		return res, err
	}
	if err := awaitCrossed(ctx, s, &res); err != nil {
		return res, err
	}
	judgeArrivals(arrivals(ctx, s), &res)
	res.DeadLetters = int(statusOf(s.OTBridge, testworld.BridgePath).Dead)
	err = awaitRows(ctx, s, &res)
	res.Seconds = time.Since(began).Seconds()
	return res, err
}

// sendReadings lets every device send all its readings, numbered from first.
func sendReadings(ctx context.Context, s *testworld.CrossTenant, cfg CheckConfig, res *CrossResult, first int) error {
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards res
	g, ctx := errgroup.WithContext(ctx)
	for i := range cfg.Devices {
		id := fmt.Sprintf("press-%03d", i+1)
		text, err := s.Device(ctx, id)
		if err != nil {
			return err
		}
		g.Go(func() error {
			d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS)})
			if err != nil {
				return err
			}
			defer d.Close()
			acks := make([]<-chan error, cfg.Messages)
			broken := 0
			for n := range cfg.Messages {
				number := first + n + 1
				if number%100 == 0 {
					broken++
				}
				if acks[n], err = d.Start(ctx, []byte(pressReading(id, number, time.Now())), nil); err != nil {
					return err
				}
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
			mu.Lock()
			defer mu.Unlock()
			res.Sent += cfg.Messages - broken
			res.Broken += broken
			if cfg.Progress != nil {
				cfg.Progress(res.Sent+res.Broken, 2*cfg.Devices*cfg.Messages)
			}
			return nil
		})
	}
	return g.Wait()
}

// arrivals is everything that is in the office's event hub.
func arrivals(ctx context.Context, s *testworld.CrossTenant) []eventlog.Event {
	e, err := lake(ctx, s)
	if err != nil {
		return nil
	}
	var out []eventlog.Event
	for p := range e.Partitions() {
		info, err := e.Info(p)
		if err != nil {
			return nil
		}
		for from := info.First; from < info.Next; {
			was := from
			err := e.Scan(ctx, p, from, 1000, func(v *eventlog.View) bool {
				out = append(out, v.Event())
				from = v.Sequence + 1
				return true
			})
			if err != nil || from == was {
				return out
			}
		}
	}
	return out
}

func lake(ctx context.Context, s *testworld.CrossTenant) (eventhub.Entity, error) {
	n, ok := s.Store.Namespaces().ByName(testworld.LakeName)
	if !ok {
		return nil, fault.New("demo.CheckCrossTenant", fault.NotFound, "the office's namespace is not served yet")
	}
	return n.Entity(ctx, "telemetry")
}

// awaitCrossed waits until all of what was sent and may cross has.
func awaitCrossed(ctx context.Context, s *testworld.CrossTenant, res *CrossResult) error {
	return await(ctx, func() error {
		origins := map[string]bool{}
		for _, e := range arrivals(ctx, s) {
			_, properties, _ := amqpevent.Read(e)
			origins[properties["isthmus-origin"]] = true
		}
		if len(origins) < res.Sent {
			st := statusOf(s.OTBridge, testworld.BridgePath)
			return fmt.Errorf("%d of %d have crossed; the bridge is %s%s", len(origins), res.Sent, st.State, because(st))
		}
		return nil
	})
}

func await(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fault.Wrap("demo.CheckCrossTenant", fault.Timeout, err, err.Error())
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func judgeArrivals(events []eventlog.Event, res *CrossResult) {
	seen := map[string]bool{}
	for _, e := range events {
		body, properties, system := amqpevent.Read(e)
		if all := fmt.Sprint(string(e.Body), string(body), properties, system, e.PartitionKey); strings.Contains(all, "Curie") || strings.Contains(all, "press-") {
			res.Unagreed++
		}
		origin := properties["isthmus-origin"]
		if seen[origin] {
			res.Repeats++
			if properties["isthmus-repeat"] != "true" {
				res.Unmarked++
			}
		}
		seen[origin] = true
	}
	res.Crossed = len(seen)
}

// awaitRows waits until the aggregates are of everything that crossed.
func awaitRows(ctx context.Context, s *testworld.CrossTenant, res *CrossResult) error {
	return await(ctx, func() error {
		rows, counted, err := aggregates(ctx, s)
		if err != nil {
			return err
		}
		if res.Rows, res.Counted = rows, counted; counted < res.Sent {
			st := statusOf(s.ITBridge, testworld.AggregatesPath)
			return fmt.Errorf("rows of %d of %d readings are written; the bridge is %s%s", counted, res.Sent, st.State, because(st))
		}
		return nil
	})
}

func aggregates(ctx context.Context, s *testworld.CrossTenant) (rows, counted int, err error) {
	a, ok := s.Store.Accounts().ByName(testworld.AggregatesName)
	if !ok {
		return 0, 0, fault.New("demo.CheckCrossTenant", fault.NotFound, "the office's blob service is not served yet")
	}
	list, err := a.List(ctx, "aggregates", storage.ListOptions{})
	if err != nil {
		return 0, 0, err
	}
	for _, b := range list.Entries {
		c, err := a.Open(ctx, storage.Ref{Container: "aggregates", Name: b.Name}, storage.Condition{})
		if err != nil {
			return 0, 0, err
		}
		r, err := c.Read(ctx, 0, c.Size)
		if err != nil {
			return 0, 0, err
		}
		text, err := io.ReadAll(r)
		_ = r.Close() // only read
		if err != nil {
			return 0, 0, err
		}
		for line := range bytes.Lines(text) {
			var row struct{ Readings int }
			if err := json.Unmarshal(line, &row); err != nil {
				return 0, 0, err
			}
			rows, counted = rows+1, counted+row.Readings
		}
	}
	return rows, counted, nil
}
