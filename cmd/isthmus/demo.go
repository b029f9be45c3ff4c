package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/demo"
	"github.com/isthmus-io/isthmus/fault"
)

func newDemo(w *world) *cobra.Command {
	var check, asJSON, verbose bool
	var scenario string
	var cfg demo.CheckConfig
	var show demo.ShowConfig
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole world on this machine and watch it",
		Long: `Run a whole world on loopback, without root and without a cloud: a plant with ten sensors, a relay, a hub in another network, names, and an
endpoint of another tenant that waits for approval. With --check, send and compare instead of showing; exit 0 only if all is well.

--scenario cross-tenant is another world: examples/cross-tenant, in which a bridge takes the plant's telemetry into the office's event hub once the office
has accepted the contract and approved the endpoint, and another one aggregates it into a blob store.`,
		Example: "  isthmus demo\n  isthmus demo --check --devices 50 --messages 200 --json\n  isthmus demo --scenario cross-tenant",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			if scenario != standardScenario && scenario != crossTenantScenario {
				return usagef("--scenario %q is not known", scenario).advise("use %s or %s", standardScenario, crossTenantScenario)
			}
			if check {
				cfg.Log = log
				if scenario == crossTenantScenario {
					return checkCrossTenant(c.Context(), w, cfg, asJSON)
				}
				return checkDemo(c.Context(), w, cfg, asJSON)
			}
			self, err := os.Executable()
			if err != nil {
				self = "isthmus"
			}
			show.Login = func(dir, server, caFile, token string) (string, error) {
				return w.demoContext(c.Context(), dir, server, caFile, token)
			}
			show.Log, show.Program, show.Terminal, show.In, show.Out = log, self, w.terminal && w.typing, w.in, w.out
			if show.Terminal { // its size is asked of the file itself
				show.In, show.Out = os.Stdin, os.Stdout
			}
			if scenario == crossTenantScenario {
				return demo.ShowCrossTenant(c.Context(), show)
			}
			return demo.Show(c.Context(), show)
		},
	}
	f := c.Flags()
	f.StringVar(&scenario, "scenario", standardScenario, "`WHAT` world: "+standardScenario+" or "+crossTenantScenario)
	_ = c.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions([]string{standardScenario, crossTenantScenario}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	f.BoolVar(&check, "check", false, "send, compare and end, instead of showing")
	f.BoolVar(&asJSON, "json", false, "with --check: print one JSON object")
	f.BoolVar(&verbose, "verbose", false, "log everything to standard error")
	f.IntVar(&cfg.Devices, "devices", 50, "with --check: how many devices send")
	f.IntVar(&cfg.Messages, "messages", 200, "with --check: how many messages each sends")
	f.IntVar(&show.Sensors, "sensors", 10, "how many sensors the plant has")
	return c
}

// The worlds a demo shows.
const (
	standardScenario    = "standard"
	crossTenantScenario = "cross-tenant"
)

func checkCrossTenant(ctx context.Context, w *world, cfg demo.CheckConfig, asJSON bool) error {
	if !asJSON {
		w.printf("building a world: a plant and an office, a hub, an event hub, a blob store, two bridges, a relay …\n")
		cfg.Progress = func(done, all int) {
			if w.terminal {
				w.printf("\r%d of %d readings acknowledged", done, all)
			}
		}
	}
	res, err := demo.CheckCrossTenant(ctx, cfg)
	if err != nil {
		return err
	}
	if asJSON {
		b, err := json.Marshal(res)
		if err != nil {
			return err
		}
		w.printf("%s\n", b)
	} else {
		w.printf("\rsent %d within the contract and %d against it; crossed %d, before both had agreed %d, after the approval was taken back %d\n",
			res.Sent, res.Broken, res.Crossed, res.BeforeYes, res.AfterNo)
		w.printf("with what was not agreed: %d; second copies %d, unmarked %d; dead letters %d; %d rows of %d readings; %.0f events/s over both endpoints\n",
			res.Unagreed, res.Repeats, res.Unmarked, res.DeadLetters, res.Rows, res.Counted, res.CrossedPerSec)
	}
	if !res.OK() {
		return fault.New("isthmus.demo", fault.Unavailable, "the world is not well: see the numbers above").Advise("run it again with --verbose for the log")
	}
	return nil
}

func checkDemo(ctx context.Context, w *world, cfg demo.CheckConfig, asJSON bool) error {
	if !asJSON {
		w.printf("building a world: two tenants, three networks, a relay, a hub …\n")
		cfg.Progress = func(done, all int) {
			if w.terminal {
				w.printf("\r%d of %d messages acknowledged", done, all)
			}
		}
	}
	res, err := demo.Check(ctx, cfg)
	if err != nil {
		return err
	}
	if asJSON {
		b, err := json.Marshal(res)
		if err != nil {
			return err
		}
		w.printf("%s\n", b)
	} else {
		w.printf("\rsent %d, received %d, lost %d, duplicated %d, changed %d in %.1f s; the hub's name led to %s\n",
			res.Sent, res.Received, res.Lost, res.Duplicated, res.Changed, res.Seconds, res.Resolved)
		w.printf("public side refused: %t; pending endpoint passes: %t; relay saw plaintext: %t in %d bytes\n",
			res.PublicSideRefused, res.PendingPasses, res.RelaySawPlaintext, res.RelayBytes)
		w.printf("a person came into a machine when another approved: %t; by her own approval: %t; out %.1f ms after it was taken back; in again: %t\n",
			res.Visit.LetIn, res.Visit.SelfApproved, res.Visit.CutMillis, res.Visit.InAgain)
	}
	if !res.OK() {
		return fault.New("isthmus.demo", fault.Unavailable, "the world is not well: see the numbers above").Advise("run it again with --verbose for the log")
	}
	return nil
}

// demoContext logs in to the demo's control plane in a file of the demo's own, and returns that file.
func (w *world) demoContext(ctx context.Context, dir, server, caFile, token string) (string, error) {
	path := filepath.Join(dir, "contexts.yaml")
	own := *w
	own.out, own.err = io.Discard, io.Discard
	own.getenv = func(key string) string {
		switch key {
		case "ISTHMUS_CONFIG":
			return path
		case "ISTHMUS_TOKEN":
			return token
		case "ISTHMUS_SERVER":
			return ""
		}
		return w.getenv(key)
	}
	root := newRoot(&own)
	root.SetArgs([]string{"login", "--server", server, "--ca-file", caFile, "--name", "demo"})
	return path, root.ExecuteContext(ctx)
}
