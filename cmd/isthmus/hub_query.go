package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

const (
	outJSONL = "jsonl"
	outBars  = "bars"
)

func newHubQuery(w *world) *cobra.Command {
	var (
		out     output
		explain bool
		limit   int
		page    int
	)
	c := &cobra.Command{
		Use: "query QUERY", Short: "Ask for twins, modules and jobs in IoT Hub's query language",
		Long: `Ask a question in IoT Hub's query language: SELECT .. FROM devices, devices.modules or devices.jobs, with WHERE and GROUP BY. The question is an argument, in a file,
or - for standard input. It is described in docs/query.md.

A table shows what each result has; jsonl prints one result a line as it comes, for large answers; bars draws the last number of each result, which for COUNT() by
groups is a picture of the fleet. --explain prints the SQL and the database's plan instead of the answer.`,
		Example: `  isthmus hub query "SELECT * FROM devices WHERE tags.plant = 43"
  isthmus hub query "SELECT properties.reported.firmware AS firmware, COUNT() AS devices FROM devices GROUP BY properties.reported.firmware" -o bars
  isthmus hub query "SELECT deviceId FROM devices.jobs WHERE jobId = 'update-43' AND status = 'failed'" -o jsonl
  isthmus hub query --file report.sql --explain`,
		Args: cobra.MaximumNArgs(1), Annotations: map[string]string{runsItself: "yes"},
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outJSONL, outYAML, outBars)
	in := addInput(w, c, "the query")
	f := c.Flags()
	f.BoolVar(&explain, "explain", false, "print how the hub would answer, instead of the answer")
	f.IntVar(&limit, "limit", 0, "end after this many `RESULTS`; 0 for no limit")
	f.IntVar(&page, "page", 0, "ask for so many `RESULTS` at a time, up to 1000; the hub's choice when 0")
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := in.text(args)
		if err != nil {
			return err
		}
		text := strings.TrimSpace(string(b))
		if text == "" {
			return usagef("the query is missing").advise(`write it in quotes: "SELECT * FROM devices"`)
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			if explain {
				plan, err := hub.Plan(c.Context(), text)
				if err == nil {
					w.printf("%s\n", harmlessLines(strings.TrimRight(plan, "\n")))
				}
				return err
			}
			var r results
			for next := ""; ; {
				size := page
				if limit > 0 && (size == 0 || limit-r.n < size) {
					size = min(limit-r.n, maxPage)
				}
				p, err := hub.Find(c.Context(), text, size, next)
				if err != nil {
					return err
				}
				r.kind = p.Kind
				for _, item := range p.Items {
					if r.n++; limit > 0 && r.n > limit {
						break
					}
					if out.format == outJSONL {
						w.printJSON(item)
						continue
					}
					r.items = append(r.items, item)
				}
				if next = p.Continuation; next == "" || limit > 0 && r.n >= limit {
					break
				}
			}
			return w.printResults(&r, &out)
		})(c, args)
	}
	c.AddCommand(newHubIndex(w))
	return c
}

// maxPage is the most a hub gives at once.
const maxPage = 1000

func (w *world) printResults(r *results, out *output) error {
	switch {
	case out.format == outJSONL:
		return nil
	case out.structured():
		return out.write(w, itemsOf(r.items))
	case out.format == outBars:
		return w.bars(r.labelled())
	case len(r.items) == 0:
		w.note("nothing was found")
		return nil
	}
	heads, rows := r.table()
	for i, h := range heads {
		if r.kind == "Twin" && h == "LASTACTIVITYTIME" {
			for _, row := range rows {
				row[i].text = w.hubTime(row[i].text)
			}
		}
	}
	w.table(heads, rows)
	return nil
}

func newHubIndex(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "index", Aliases: []string{"indexes"}, Short: "Say which properties queries find through an index",
		Long: `A query that compares a tag goes by an index. One that compares a desired or reported property reads all twins, unless the property was declared here: 32 a hub.
Declaring reads every twin once. "isthmus hub query --explain" shows whether a query goes by an index.`,
		Example: `  isthmus hub query index add properties.reported.firmware
  isthmus hub query index list`,
	}
	n := &noun[*hubclient.Client, string]{
		w: w, word: "index", path: "isthmus hub query index", reach: toHub,
		list: (*hubclient.Client).Indexes, remove: uncounted((*hubclient.Client).DropIndex),
		name: func(s string) string { return s }, heads: []string{"PROPERTY"}, row: func(s string) []cell { return cells(s) },
	}
	c.AddCommand(newIndexAdd(w), n.newList("List the properties that are in an index", ""), n.newDelete("Take indexes away; queries still find the property, by reading all twins", "properties.reported.firmware"))
	return c
}

func newIndexAdd(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "add PROPERTY...", Short: "Have properties of all twins indexed", Args: cobra.MinimumNArgs(1), Example: "  isthmus hub query index add properties.reported.firmware",
	}
	a := toHub(w, c)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		defer w.waiting("the hub to read every twin")()
		for _, p := range args {
			if err := hub.DeclareIndex(c.Context(), p); err != nil {
				return err
			}
			w.printf("index %s added\n", harmless(p))
		}
		return nil
	})
	return c
}
