package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The load's two halves are this same program started again: `bench serve ADDR` and `bench drive ADDR MODE FLOWS SECONDS
// RATE`. With a ClientHello in the environment, each connection begins with it, and the server takes it off.
// The first byte of a connection says what the server does with it: 's' sink, 'e' echo, 'c' answer each byte with the bytes sunk so
// far and the server's time. Counting at the far end, by the far end's clock, needs no half-close, which some peers do not pass on.

func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	var sunk atomic.Uint64
	start := time.Now()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var kind [1]byte
			if _, err := io.ReadFull(c, kind[:]); err != nil {
				return
			}
			if kind[0] == handshake {
				if err := skipHello(c); err != nil {
					return
				}
				if _, err := io.ReadFull(c, kind[:]); err != nil {
					return
				}
			}
			switch kind[0] {
			case 'e':
				echo(c)
			case 'c':
				count(c, &sunk, start)
			default:
				sink(c, &sunk)
			}
		}()
	}
}

func echo(c net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func sink(c net.Conn, sunk *atomic.Uint64) {
	buf := make([]byte, 64<<10) // 64 flows' buffers should not empty the processors' caches
	for {
		n, err := c.Read(buf)
		sunk.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

func count(c net.Conn, sunk *atomic.Uint64, start time.Time) {
	var b [16]byte
	for {
		if _, err := io.ReadFull(c, b[:1]); err != nil {
			return
		}
		binary.BigEndian.PutUint64(b[:8], sunk.Load())
		binary.BigEndian.PutUint64(b[8:], uint64(time.Since(start)))
		if _, err := c.Write(b[:]); err != nil {
			return
		}
	}
}

func ask(c net.Conn) (sunk uint64, at time.Duration, err error) {
	var b [16]byte
	if _, err := c.Write([]byte{1}); err != nil {
		return 0, 0, err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(b[:8]), time.Duration(binary.BigEndian.Uint64(b[8:])), nil
}

// figures is what one drive reports as JSON.
type figures struct {
	BitsPerSecond float64 `json:"bitsPerSecond,omitempty"`
	FlowsPerSec   float64 `json:"flowsPerSecond,omitempty"`
	MedianRTT     float64 `json:"medianRttMicroseconds,omitempty"`
	P99RTT        float64 `json:"p99RttMicroseconds,omitempty"`
	Messages      float64 `json:"messagesPerSecond,omitempty"`
	StormSeconds  float64 `json:"stormSeconds,omitempty"`
	All           int64   `json:"all,omitempty"` // messages, those before and after the measurement too
	Errors        int64   `json:"errors"`
}

func drive(addr, mode string, flows int, d time.Duration, rate float64) error {
	ctx, cancel := context.WithTimeout(context.Background(), d+20*time.Second)
	defer cancel()
	var f figures
	var err error
	switch mode {
	case "bulk":
		f, err = bulk(ctx, addr, flows, d)
	case "rtt":
		f, err = rtt(ctx, addr, d)
	case "connect":
		f, err = connect(ctx, addr, flows, d)
	case "exchange":
		f, err = exchange(ctx, addr, flows, d)
	case "paced":
		f, err = paced(ctx, addr, flows, d, rate)
	case "idle":
		f, err = idle(ctx, addr, flows)
	default:
		err = fmt.Errorf("no mode %q", mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

func dial(ctx context.Context, addr string, kind byte) (*net.TCPConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(opening(kind)); err != nil {
		c.Close()
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func bulk(ctx context.Context, addr string, flows int, d time.Duration) (figures, error) {
	counter, err := dial(ctx, addr, 'c')
	if err != nil {
		return figures{}, err
	}
	defer counter.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	buf := make([]byte, 256<<10)
	for range flows {
		c, err := dial(ctx, addr, 's')
		if err != nil {
			return figures{}, err
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		wg.Go(func() {
			defer stop()
			for {
				if _, err := c.Write(buf); err != nil {
					if ctx.Err() == nil {
						errs.Add(1)
					}
					return
				}
			}
		})
	}
	warm := d / 5
	time.Sleep(warm)
	n0, t0, err := ask(counter)
	if err != nil {
		return figures{}, err
	}
	time.Sleep(d - warm)
	n1, t1, err := ask(counter)
	if err != nil {
		return figures{}, err
	}
	return figures{BitsPerSecond: float64(n1-n0) * 8 / (t1 - t0).Seconds(), Errors: errs.Load()}, nil
}

func rtt(ctx context.Context, addr string, d time.Duration) (figures, error) {
	c, err := dial(ctx, addr, 'e')
	if err != nil {
		return figures{}, err
	}
	defer c.Close()
	var took []float64
	buf := make([]byte, 64)
	for start := time.Now(); time.Since(start) < d; {
		t := time.Now()
		if _, err := c.Write(buf); err != nil {
			return figures{}, err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return figures{}, err
		}
		took = append(took, float64(time.Since(t).Nanoseconds())/1000)
	}
	slices.Sort(took)
	return figures{MedianRTT: took[len(took)/2], P99RTT: took[len(took)*99/100]}, nil
}

// connect opens flows as fast as it can with a fixed number of workers; a flow counts when one byte has gone there and back.
func connect(ctx context.Context, addr string, workers int, d time.Duration) (figures, error) {
	var done, errs atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range workers {
		wg.Go(func() {
			var b [1]byte
			for time.Since(start) < d && errs.Load() < 1000 {
				c, err := dial(ctx, addr, 'e')
				if err != nil {
					errs.Add(1)
					continue
				}
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err = c.Write([]byte{1}); err == nil {
					_, err = io.ReadFull(c, b[:])
				}
				_ = c.SetLinger(0) // tens of thousands of TIME_WAITs would measure the kernel's port search
				c.Close()
				if err != nil {
					errs.Add(1)
					continue
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return figures{FlowsPerSec: float64(done.Load()) / time.Since(start).Seconds(), Errors: errs.Load()}, nil
}

// idle opens flows, passes one byte through each, says so on standard output, and holds them until its standard input ends; then
// every one must still echo.
func idle(ctx context.Context, addr string, flows int) (figures, error) {
	conns := make([]*net.TCPConn, flows)
	ping := func(c *net.TCPConn) error {
		var b [1]byte
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write([]byte{7}); err != nil {
			return err
		}
		_, err := io.ReadFull(c, b[:])
		return err
	}
	for i := range conns {
		c, err := dial(ctx, addr, 'e')
		if err != nil {
			return figures{}, err
		}
		defer c.Close()
		if err := ping(c); err != nil {
			return figures{}, err
		}
		conns[i] = c
	}
	fmt.Println("idle")
	_, _ = io.Copy(io.Discard, os.Stdin)
	var errs int64
	for _, c := range conns {
		if ping(c) != nil {
			errs++
		}
	}
	return figures{Errors: errs}, nil
}
