package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The load's two halves are this same program started again: `bench serve ADDR` and `bench drive ADDR MODE FLOWS SECONDS`.
// The first byte of a connection says what the server does with it: 's' sink and count, 'e' echo.

func serve(addr string) error {
	l, err := net.Listen("tcp", addr) //nolint:noctx // ends with the process
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
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
			if kind[0] == 'e' {
				echo(c)
				return
			}
			sink(c)
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

// sink reads until end of stream and answers the count, so that the client measures bytes that arrived.
func sink(c net.Conn) {
	buf := make([]byte, 256<<10)
	var n uint64
	for {
		k, err := c.Read(buf)
		n += uint64(k)
		if err != nil {
			break
		}
	}
	_, _ = fmt.Fprintf(c, "%d\n", n)
}

// figures is what one drive reports as JSON.
type figures struct {
	BitsPerSecond float64 `json:"bitsPerSecond,omitempty"`
	FlowsPerSec   float64 `json:"flowsPerSecond,omitempty"`
	MedianRTT     float64 `json:"medianRttMicroseconds,omitempty"`
	P99RTT        float64 `json:"p99RttMicroseconds,omitempty"`
	Errors        int64   `json:"errors"`
}

func drive(addr, mode string, flows int, d time.Duration) error {
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
	if _, err := c.Write([]byte{kind}); err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func bulk(ctx context.Context, addr string, flows int, d time.Duration) (figures, error) {
	var total atomic.Uint64
	var errs atomic.Int64
	conns := make([]*net.TCPConn, flows)
	for i := range conns {
		c, err := dial(ctx, addr, 's')
		if err != nil {
			return figures{}, err
		}
		conns[i] = c
	}
	buf := make([]byte, 256<<10)
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			defer c.Close()
			for time.Since(start) < d {
				if _, err := c.Write(buf); err != nil {
					errs.Add(1)
					return
				}
			}
			_ = c.CloseWrite()
			_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
			line, err := io.ReadAll(c)
			n, perr := strconv.ParseUint(string(line[:max(len(line)-1, 0)]), 10, 64)
			if perr != nil {
				fmt.Fprintln(os.Stderr, "no count came back:", err)
				errs.Add(1)
				return
			}
			total.Add(n)
		})
	}
	wg.Wait()
	return figures{BitsPerSecond: float64(total.Load()) * 8 / time.Since(start).Seconds(), Errors: errs.Load()}, nil
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
