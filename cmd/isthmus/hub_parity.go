package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/migration"
	"github.com/isthmus-io/isthmus/hub/parity"
)

const outMarkdown = "markdown"

func newHubParity(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "parity FILE...", Short: "Say what becomes of an Azure hub here, and change nothing", Args: cobra.MinimumNArgs(1),
		Long: `Read what was exported from an Azure hub and its provisioning service, and say what comes across, what behaves differently, what is missing here, what is refused and why,
with what to do next. No hub is asked. Files are known by what they hold: devices.txt of an export job, az iot hub state export, ARM templates, and what az iot
prints as JSON: hub show, device-identity, device-twin, module-identity, module-twin, configuration, edge deployment, certificate, consumer-group, dps show, dps
enrollment, dps enrollment-group. Several of one hub make one picture. docs/import.md lists them.`,
		Example: `  isthmus hub parity devices.txt hub.json
  isthmus hub parity state.json -o markdown > parity.md`,
	}
	out.addTo(c, "text", outJSON, outYAML, outMarkdown)
	c.RunE = func(c *cobra.Command, args []string) error {
		e, err := w.readExport(c.Context(), args)
		if err != nil {
			return err
		}
		if err := w.printParity(&out, e.report); err != nil {
			return err
		}
		return e.broken
	}
	return c
}

// exported is what files of an Azure hub hold.
type exported struct {
	report parity.Report
	plan   *migration.Plan
	broken error // a file that cannot be read to its end
}

// readExport reads files once.
func (w *world) readExport(ctx context.Context, files []string) (exported, error) {
	op := "isthmus.import"
	plan := migration.New()
	line := &liveLine{out: w.err, live: w.terminal, last: w.clock.Now()}
	defer line.end()
	var e exported
	for _, name := range files {
		if name == "-" {
			return e, usagef("standard input can be read once, and an import reads twice").advise("write it into a file")
		}
		s := migration.Source{Name: name, Open: func() (io.ReadCloser, error) {
			f, err := os.Open(name)
			if err != nil {
				return nil, fault.Wrap(op, fault.NotFound, err, "it cannot be read: "+err.Error())
			}
			return f, nil
		}}
		in, err := s.Open()
		if err != nil {
			return e, err
		}
		plan.Begin(s)
		things := 0
		err = azureexport.Read(in, func(at azureexport.At, t azureexport.Thing) error {
			plan.See(at, t)
			if things++; things%1000 == 0 {
				line.show("reading " + harmless(name) + ": " + itoa(things))
				return ctx.Err()
			}
			return nil
		})
		_ = in.Close() // it was only read
		switch {
		case ctx.Err() != nil:
			return e, fault.New(op, fault.Timeout, "given up").Because(ctx.Err())
		case err != nil:
			plan.Broken(err)
			if e.broken == nil {
				e.broken = fault.Newf(op, fault.Invalid, "%s: %s", name, fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
			}
		}
	}
	e.report, e.plan = plan.Report(), plan
	return e, nil
}

func (w *world) printParity(out *output, r parity.Report) error {
	switch {
	case out.structured():
		return out.write(w, r)
	case out.format == outMarkdown:
		w.printf("%s", r.Markdown())
		return nil
	}
	var rows [][]cell
	for _, f := range r.Files {
		row := cells(f.Name, strings.Join(f.Holds, ", "), itoa(f.Things))
		if f.Error != "" {
			row[1] = cell{"broken: " + f.Error, red}
		}
		rows = append(rows, row)
	}
	w.table([]string{"FILE", "HOLDS", "THINGS"}, rows)
	paint := w.painter()
	colours := map[parity.Verdict]colour{parity.Same: green, parity.Different: yellow, parity.Missing: yellow, parity.Refused: red}
	for _, v := range parity.Verdicts() {
		list := r.Of(v)
		if len(list) == 0 {
			continue
		}
		w.printf("\n%s\n", paint(colours[v], v.Words()))
		wide := 0
		for _, f := range list {
			wide = max(wide, len(itoa(f.Count)))
		}
		for _, f := range list {
			w.printFinding(f, wide)
		}
	}
	return nil
}

func (w *world) printFinding(f parity.Finding, wide int) {
	paint := w.painter()
	n := itoa(f.Count)
	indent := strings.Repeat(" ", wide+6)
	w.printf("  %s%s  %s\n", strings.Repeat(" ", wide-len(n)), paint(bold, n), harmless(f.What))
	if f.Verdict == parity.Refused {
		for _, e := range f.Examples {
			w.printf("%s%s\n", indent, harmless(e))
		}
	} else if len(f.Examples) > 0 {
		more := ""
		if f.Count > len(f.Examples) {
			more = ", …"
		}
		w.printf("%s%s\n", indent, paint(dim, harmless(strings.Join(f.Examples, ", ")+more)))
	}
	if f.Next != "" {
		w.printf("%snext: %s\n", indent, harmless(f.Next))
	}
	if f.Row != nil {
		w.printf("%s%s\n", indent, paint(dim, "see: docs/azure-divergences.md, "+f.Row.Section+": "+f.Row.Begins+" …"))
	}
}
