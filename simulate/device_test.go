package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"

	"github.com/isthmus-io/isthmus/node"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(stubProcess); file != "" {
		serveStub(file)
	}
	goleak.VerifyTestMain(m)
}

func TestBadConnectionStrings(t *testing.T) {
	for _, text := range []string{"", "HostName=h", "HostName=h.example;SharedAccessKeyName=service;SharedAccessKey=AAAA", "HostName=h.example;DeviceId=d;SharedAccessKey=not base64!"} {
		_, err := simulate.Dial(t.Context(), simulate.Config{ConnectionString: text})
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		if strings.Contains(fmt.Sprint(err), "not base64!") {
			t.Errorf("the key is in the error: %v", err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := simulate.Dial(t.Context(), simulate.Config{ConnectionString: "HostName=h.example;DeviceId=d;SharedAccessKey=c2VjcmV0", Address: "127.0.0.1:1"})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestDevice sends through a whole world: with a window of one and of many, with properties that need encoding, and with a wrong key.
func TestDevice(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := w.Standard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Device(ctx, "press-1")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg := simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS)}
	want := map[string]string{"unit": "kPa & °C = 100%", "empty": "", "path": "a/b+c d#e"}
	for _, window := range []int{1, 100} {
		cfg.Window = window
		d, err := simulate.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var acks []<-chan error
		for n := range 200 {
			ack, err := d.Start(ctx, fmt.Appendf(nil, "%d/%d", window, n), want)
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		for _, ack := range acks {
			if err := <-ack; err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		if err := d.Send(ctx, nil, nil); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("sending after Close: %v", err)
		}
	}
	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for p := range 4 {
		evs, err := h.Events(ctx, p, 0, 1000)
		if err != nil && !errors.Is(err, fault.OfKind(fault.NotFound)) {
			t.Fatal(err)
		}
		for _, e := range evs {
			seen[string(e.Body)] = true
			if len(e.Properties) != len(want) {
				t.Errorf("properties %v", e.Properties)
			}
			for k, v := range want {
				if e.Properties[k] != v {
					t.Errorf("property %s = %q, want %q", k, e.Properties[k], v)
				}
			}
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d different messages arrived, 400 were sent", len(seen))
	}

	cfg.ConnectionString = replaceKey(text)
	if _, err := simulate.Dial(ctx, cfg); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a wrong key: %v", err)
	}
}

// replaceKey returns the connection string with another key of the same length.
func replaceKey(text string) string {
	const mark = "SharedAccessKey="
	i := strings.Index(text, mark) + len(mark)
	return text[:i] + strings.Repeat("A", 43) + "="
}
