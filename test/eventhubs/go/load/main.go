package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// door is where a load connects, and who it is there.
type door struct {
	Addr, CA, Host string // CA empty: without TLS
	User, Key      string // of SASL PLAIN, or a policy and its key
}

// order is what to do.
type order struct {
	Mode, Client string // in or out; go-amqp or azeventhubs
	Door, Reader door   // of those who send and read
	Target       string
	Sources      []string
	Topic        string // the event hub
	Senders      int
	Window       int // in flight, of each sender
	Body, Batch  int
	Count        int64 // to read
	Seconds      float64
}

// figures is what came of it.
type figures struct {
	Messages float64 `json:"messagesPerSecond"`
	All      int64   `json:"all"` // those before and after the measurement too
	Errors   int64   `json:"errors"`
}

// sender sends one message, which counts as Batch events, and returns when it is acknowledged, or before that with what waits for it.
type sender func(ctx context.Context) (wait func(ctx context.Context) error, err error)

// reader calls got for every event until the context ends.
type reader func(ctx context.Context, got func()) error

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	if !in.Scan() {
		return errors.New("there is nothing to do")
	}
	var o order
	if err := json.Unmarshal(in.Bytes(), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration((2*o.Seconds+60)*float64(time.Second)))
	defer cancel()
	clients := map[string]struct {
		senders func(context.Context, order) ([]sender, error)
		readers func(context.Context, order) ([]reader, error)
	}{"go-amqp": {plainSenders, plainReaders}, "azeventhubs": {hubSenders, hubReaders}}
	client, ok := clients[o.Client]
	if !ok {
		return fmt.Errorf("no client %q", o.Client)
	}
	var out figures
	switch o.Mode {
	case "in":
		senders, err := client.senders(ctx, o)
		if err != nil {
			return err
		}
		fmt.Println("idle")
		in.Scan()
		out = o.send(ctx, senders)
	case "out":
		fmt.Println("idle")
		in.Scan()
		readers, err := client.readers(ctx, o)
		if err != nil {
			return err
		}
		out = o.read(ctx, readers)
	default:
		return fmt.Errorf("no mode %q", o.Mode)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// send keeps the windows full until the time is over.
func (o order) send(ctx context.Context, senders []sender) figures {
	from := time.Now().Add(time.Duration(o.Seconds / 4 * float64(time.Second)))
	until := from.Add(time.Duration(o.Seconds * float64(time.Second)))
	var counted, every, failed atomic.Int64
	var all sync.WaitGroup
	fail := func(err error) {
		if failed.Add(1) == 1 {
			fmt.Fprintln(os.Stderr, "load:", err)
		}
	}
	for _, send := range senders {
		waiting := make(chan func(context.Context) error, o.Window-1) // with the one that is being waited for, a window
		all.Go(func() {
			defer close(waiting)
			for time.Now().Before(until) && failed.Load() == 0 {
				wait, err := send(ctx)
				if err != nil {
					fail(err)
					return
				}
				waiting <- wait
			}
		})
		all.Go(func() {
			for wait := range waiting {
				if err := wait(ctx); err != nil {
					fail(err)
					continue
				}
				every.Add(int64(o.Batch))
				if now := time.Now(); !now.Before(from) && now.Before(until) {
					counted.Add(int64(o.Batch))
				}
			}
		})
	}
	all.Wait()
	return figures{Messages: float64(counted.Load()) / o.Seconds, All: every.Load(), Errors: failed.Load()}
}

// read reads until it has Count events, or the time is over, and divides by the time from the first event to the last.
func (o order) read(ctx context.Context, readers []reader) figures {
	ctx, stop := context.WithTimeout(ctx, time.Duration((o.Seconds+1)*float64(time.Second)))
	defer stop()
	var n, failed int64
	var first, last time.Time
	var mu sync.Mutex // guards them
	var all sync.WaitGroup
	begun := time.Now()
	for _, read := range readers {
		all.Go(func() {
			err := read(ctx, func() {
				mu.Lock()
				defer mu.Unlock()
				n++
				if n%64 != 0 && n != 1 && n < o.Count {
					return
				}
				last = time.Now()
				if n == 1 {
					first = last
				}
				if n >= o.Count || last.Sub(begun).Seconds() > o.Seconds {
					stop()
				}
			})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "load:", err)
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return figures{Messages: float64(n) / max(last.Sub(first).Seconds(), 1e-3), All: n, Errors: failed}
}

// trust is the TLS configuration of a door; nil without TLS.
func (d door) trust() (*tls.Config, error) {
	if d.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(d.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: d.Host, MinVersion: tls.VersionTLS13}, nil
}
