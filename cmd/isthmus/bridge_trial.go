package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/bridge/trial"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func newBridgeTest(w *world) *cobra.Command {
	var (
		out       output
		modules   string
		reference string
		functions map[string]string
		only      string
	)
	c := &cobra.Command{
		Use:   "test FILE|DIR...",
		Short: "Try the tests in the manifests of bridges, without any network",
		Long: `Try the tests in the manifests of bridges: each says what comes in, what is to be sent and what is to be dead-lettered. Steps, window and contract run
as they do in a bridge; nothing is read, sent or opened, and no control plane is asked. Contracts are looked for in the same files.

Of what is expected only what is written down is compared. Hashes are made with a key of the test alone: leave them out of what you expect.
The exit code is 1 when a test fails.`,
		Example: `  isthmus bridge test examples/cross-tenant
  isthmus bridge test bridge.yaml contract.yaml -o json
  isthmus bridge test bridge.yaml --modules build/ --function enrich=http://localhost:8080`,
		Args: cobra.MinimumNArgs(1),
	}
	out.addTo(c, outTable, outJSON, outYAML)
	f := c.Flags()
	f.StringVar(&modules, "modules", "", "`DIR` of WebAssembly modules; modules beside the first file when absent")
	f.StringVar(&reference, "references", "", "`DIR` of reference tables; references beside the first file when absent")
	f.StringToStringVar(&functions, "function", nil, "`STEP=URL` of a service that stands in for the step's endpoint; may be repeated")
	f.StringVar(&only, "bridge", "", "`TENANT/NETWORK/NAME` of the one bridge to try; all when absent")
	c.RunE = func(c *cobra.Command, files []string) error {
		set, err := loadManifests(w, files)
		if err != nil {
			return err
		}
		t := &bridgeTrials{w: w, contracts: map[string]*resource.Contract{}, args: trial.Args{
			Functions: functions, Modules: beside(files[0], modules, "modules"), References: beside(files[0], reference, "references"),
		}}
		for _, o := range set.Objects() {
			switch o := o.(type) {
			case *resource.Bridge:
				if path := o.Key().Path(); only == "" || path == only {
					t.bridges = append(t.bridges, o)
				}
			case *resource.Contract:
				t.contracts[o.Key().Path()] = o
			}
		}
		if len(t.bridges) == 0 {
			if only != "" {
				return fault.Newf("isthmus.bridgeTest", fault.NotFound, "there is no bridge %s in %s", only, strings.Join(files, ", "))
			}
			return fault.Newf("isthmus.bridgeTest", fault.Invalid, "%s holds no bridge", strings.Join(files, ", ")).Advise("name the files with the bridge and its contract")
		}
		return t.run(c.Context(), &out)
	}
	return c
}

// beside is a folder beside a file or in a folder, unless one was given.
func beside(file, given, name string) string {
	switch {
	case given != "":
		return given
	case strings.HasSuffix(file, ".yaml"), strings.HasSuffix(file, ".yml"), file == "-":
		return filepath.Join(filepath.Dir(file), name)
	}
	return filepath.Join(file, name)
}

// bridgeTrials is the bridges of some manifests.
type bridgeTrials struct {
	w         *world
	args      trial.Args
	bridges   []*resource.Bridge
	contracts map[string]*resource.Contract
}

func (t *bridgeTrials) run(ctx context.Context, out *output) error {
	results := []trial.Result{}
	for _, b := range t.bridges {
		args := t.args
		args.Name, args.Spec = b.Key().Path(), b.Spec
		if name := b.Spec.Contract; name != "" {
			n := t.contracts[name]
			if n == nil {
				return fault.Newf("isthmus.bridgeTest", fault.NotFound, "the bridge %s is under the contract %s, which is in none of the files", args.Name, name).
					Advise("name its file too: isthmus contract show %s -o yaml prints it", name)
			}
			_, digest := n.Text(max(n.Status.Version, 1))
			args.Contract = &plan.Contract{Name: name, Version: max(n.Status.Version, 1), Digest: digest, Spec: n.Spec}
		}
		list, err := trial.Run(ctx, args)
		if err != nil {
			return err
		}
		results = append(results, list...)
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	if out.structured() {
		if err := out.write(t.w, results); err != nil {
			return err
		}
	} else {
		t.print(results, failed)
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}

func (t *bridgeTrials) print(results []trial.Result, failed int) {
	paint := t.w.painter()
	tried := map[string]bool{}
	for _, r := range results {
		word := paint(green, "ok  ")
		if !r.Passed {
			word = paint(red, "FAIL")
		}
		t.w.printf("%s %s: %s %s\n", word, r.Bridge, harmless(r.Test), paint(dim, "("+r.Took.Round(time.Millisecond).String()+")"))
		for _, p := range r.Problems {
			t.w.printf("       %s\n", harmless(p))
		}
		tried[r.Bridge] = true
	}
	for _, b := range t.bridges {
		if name := b.Key().Path(); !tried[name] {
			t.w.printf("%s   %s: it has no tests; its expressions and its contract can be read\n", paint(yellow, "--"), name)
		}
	}
	switch n := len(results); {
	case failed > 0:
		t.w.printf("%d of %d tests failed\n", failed, n)
	case n > 0:
		t.w.printf("all tests passed: %d\n", n)
	}
}
