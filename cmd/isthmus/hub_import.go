package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/migration"
	"github.com/isthmus-io/isthmus/hub/parity"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newHubImport(w *world) *cobra.Command {
	i := &importing{w: w}
	var out output
	c := &cobra.Command{
		Use: "import FILE...", Short: "Bring what was exported from an Azure hub, or by hub export, into a hub", Args: cobra.MinimumNArgs(1),
		Long: `Read what was exported from an Azure hub and its provisioning service, say what becomes of it as "isthmus hub parity" does, and do it: settings, authorities, devices and
modules with their keys and twins, configurations and deployments, routing, consumer groups, enrollments. What is here already is left alone, but for parts of
twins that nobody has written, unless --mode says otherwise; settings, which always exist, are set. Done again it changes nothing: an import that was interrupted
is begun anew. Where an export holds no keys the hub makes new ones, once. What fails is listed in a file, and keeps nothing else out; a file that is broken keeps
everything out.`,
		Example: `  isthmus hub import devices.txt hub.json --dry-run
  isthmus hub import state.json
  isthmus hub import devices.txt --mode createOrUpdate --only identities`,
	}
	hub := addHubAccess(w, c)
	out.addTo(c, "text", outJSON, outYAML, outMarkdown)
	f := c.Flags()
	modes := []string{hubclient.ImportCreate, hubclient.ImportUpdate, hubclient.ImportCreateOrUpdate}
	f.StringVar(&i.cfg.Mode, "mode", hubclient.ImportCreate, "`WHAT` to do: create what is missing, update what is there, createOrUpdate both")
	completingValues(c, "mode", modes...)
	f.BoolVar(&i.cfg.Trial, "dry-run", false, "ask the hub what would come of it, and change nothing")
	f.StringSliceVar(&i.only, "only", nil, "only these `PARTS`: "+joinParts())
	completingValues(c, "only", strings.Split(joinParts(), ", ")...)
	f.StringVar(&i.failures, "failures", "", "`FILE` for what fails; beside the first file, with .failures at its end, when absent")
	f.StringVar(&i.dpsFile, "dps-connection-file", "", "`FILE` with a connection string of the provisioning service, instead of "+dpsEnvironment)
	f.StringVar(&i.service, "service", "", "`NAME` of the provisioning service, where one process serves several")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(modes, i.cfg.Mode) {
			return usagef("--mode %q is none", i.cfg.Mode).advise("write %s", strings.Join(modes, ", "))
		}
		for _, p := range i.only {
			if !slices.Contains(migration.Parts(), migration.Part(p)) {
				return usagef("--only %q is no part", p).advise("parts are %s", joinParts())
			}
			i.cfg.Only = append(i.cfg.Only, migration.Part(p))
		}
		if i.failures == "" {
			i.failures = args[0] + ".failures"
		}
		return i.run(c.Context(), hub, args, &out)
	}
	return c
}

func joinParts() string {
	var names []string
	for _, p := range migration.Parts() {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// importing is one import.
type importing struct {
	w        *world
	cfg      migration.Config
	only     []string
	failures string // file
	dpsFile  string
	service  string

	list *os.File
	line *liveLine
	from time.Time
}

// importView is what programs get of it.
type importView struct {
	Parity   parity.Report    `json:"parity"`
	DryRun   bool             `json:"dryRun"`
	Result   migration.Result `json:"result"`
	Failures string           `json:"failures,omitempty"` // file
}

func (i *importing) run(ctx context.Context, access *hubAccess, files []string, out *output) (err error) {
	hub, err := access.open()
	if err != nil {
		return err
	}
	defer hub.Close()
	e, err := i.w.readExport(ctx, files)
	if err != nil {
		return err
	}
	if !out.structured() {
		if err := i.w.printParity(out, e.report); err != nil {
			return err
		}
	}
	if e.broken != nil {
		i.w.note("nothing was imported")
		return e.broken
	}
	var dps *provisioningclient.Client
	defer func() {
		if dps != nil {
			dps.Close()
		}
	}()
	i.cfg.Provisioning = func() (migration.Provisioning, error) {
		var err error
		dps, err = i.provisioning(access)
		return dps, err
	}
	i.line = &liveLine{out: i.w.err, live: i.w.terminal, last: i.w.clock.Now()}
	i.from = i.w.clock.Now()
	i.cfg.Failed, i.cfg.Progress = i.failed, i.progress
	result, err := e.plan.Run(ctx, i.cfg, hub, i.w.clock)
	i.line.end()
	if cerr := i.closeList(); err == nil {
		err = cerr
	}
	if perr := i.print(out, e.report, result); err == nil {
		err = perr
	}
	if err != nil {
		return fault.Newf("isthmus.import", fault.KindOf(err), "not all was imported: %s", fault.Message(err)).
			Advise("%s; then import again: what is there is passed over", strings.TrimSuffix(orElse(fault.Next(err), "see that the hub answers"), ".")).Because(err)
	}
	if result.Failed() > 0 {
		return errSilent
	}
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// provisioning reaches the service: by its own connection string, or by the way that leads to the hub.
func (i *importing) provisioning(hub *hubAccess) (*provisioningclient.Client, error) {
	a := &dpsAccess{ways: hub.ways, service: i.service}
	a.env, a.file = dpsEnvironment, i.dpsFile
	return a.open()
}

func (i *importing) progress(part migration.Part, done, of int) {
	const wide = 24
	full := wide
	if of > 0 {
		full = min(done*wide/of, wide)
	}
	rate := float64(done) / max(i.w.clock.Now().Sub(i.from).Seconds(), 1e-3)
	text := fmt.Sprintf("%s [%s%s] %d of %d, %.0f a second", part, strings.Repeat("#", full), strings.Repeat(".", wide-full), done, of, rate)
	switch {
	case i.line.live:
		i.line.show(text)
	case i.line.seldom(i.w.clock.Now()):
		_, _ = fmt.Fprintln(i.line, text)
	}
}

// failed writes down what fails, for its owner only: names of devices are nobody else's business.
func (i *importing) failed(f migration.Failure) error {
	op := "isthmus.import"
	if i.list == nil {
		if err := os.Remove(i.failures); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.Wrap(op, fault.Exhausted, err, "what fails cannot be written down: "+err.Error())
		}
		file, err := os.OpenFile(i.failures, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fault.Wrap(op, fault.Exhausted, err, "what fails cannot be written down: "+err.Error())
		}
		i.list = file
	}
	b, err := json.Marshal(struct {
		Part  migration.Part `json:"part"`
		Name  string         `json:"name"`
		Error string         `json:"error"`
		Next  string         `json:"next,omitempty"`
	}{f.Part, f.Name, fault.Message(f.Err), fault.Next(f.Err)})
	if err == nil {
		_, err = i.list.Write(append(b, '\n'))
	}
	return fault.Wrap(op, fault.Exhausted, err, "what fails cannot be written down")
}

func (i *importing) closeList() error {
	if i.list == nil {
		return nil
	}
	return fault.Wrap("isthmus.import", fault.Exhausted, i.list.Close(), "what fails cannot be written down")
}

func (i *importing) print(out *output, report parity.Report, result migration.Result) error {
	w := i.w
	if out.structured() {
		v := importView{Parity: report, DryRun: i.cfg.Trial, Result: result}
		if i.list != nil {
			v.Failures = i.failures
		}
		return out.write(w, v)
	}
	var rows [][]cell
	kept, made := 0, 0
	for _, p := range migration.Parts() {
		o, ok := result[p]
		if !ok {
			continue
		}
		r := cells(string(p), itoa(o.Created), itoa(o.Changed), itoa(o.Same), itoa(o.Kept), itoa(o.Absent), itoa(o.Failed))
		if o.Failed > 0 {
			r[6].colour = red
		}
		rows = append(rows, r)
		kept, made = kept+o.Kept, made+o.NewKeys
	}
	if len(rows) == 0 {
		w.note("the files hold nothing to import, or --only leaves nothing of it")
		return nil
	}
	w.printf("\n")
	if out.format == outMarkdown {
		w.printf("| part | created | changed | same | kept | absent | failed |\n|---|---|---|---|---|---|---|\n")
		for _, r := range rows {
			for _, f := range r {
				w.printf("| %s ", f.text)
			}
			w.printf("|\n")
		}
	} else {
		w.table([]string{"PART", "CREATED", "CHANGED", "SAME", "KEPT", "ABSENT", "FAILED"}, rows)
	}
	if i.cfg.Trial {
		w.note("nothing was changed: this is what an import would do")
	}
	if made > 0 {
		w.note("%s new keys made here; what to put on a device: isthmus hub device connection-string DEVICE", haveNew(made))
	}
	if kept > 0 {
		w.note("%s there already, with differences, and left alone; --mode createOrUpdate changes them", areThings(kept))
	}
	if i.list != nil {
		w.note("what failed is listed in %s", i.failures)
	}
	return nil
}

func haveNew(n int) string {
	if n == 1 {
		return "1 identity has"
	}
	return itoa(n) + " identities have"
}

func areThings(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return itoa(n) + " things are"
}
