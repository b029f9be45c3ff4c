package testworld_test

import (
	"os"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/testworld"
)

func as(t *testing.T, s *testworld.Scenario, token string) *client.Client {
	t.Helper()
	roots, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Addresses: []string{s.RelayAddress}, Roots: roots, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func applyAs(t *testing.T, c *client.Client, text string) error {
	t.Helper()
	set, err := manifest.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apply(t.Context(), set.Objects(), client.ApplyOptions{})
	return err
}

func device(id string) hubstore.Device { return hubstore.Device{ID: id} }

// eventually waits for what another process of the world does in its own time.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}
