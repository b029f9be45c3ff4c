package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newEnrollmentBulk(w *world) *cobra.Command {
	modes := map[string]string{"create": "create", "update": "update", "update-if-match": "updateIfMatchETag", "delete": "delete"}
	var mode string
	var out output
	c := &cobra.Command{
		Use: "bulk --mode create|update|update-if-match|delete --file FILE", Short: "Create, change or delete many enrollments", Args: cobra.NoArgs,
		Long: `Create, change or delete many enrollments: a JSON array of them, or one on each line. They go a hundred at a time; those that fail are named, and the others are done.`,
		Example: `  isthmus dps enrollment bulk --mode create --file enrollments.json
  isthmus dps enrollment list -o json | jq -c .items | isthmus dps enrollment bulk --mode delete --file -`,
	}
	a := toDPS(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	in := addInput(w, c, "the enrollments")
	c.Flags().StringVar(&mode, "mode", "", "`WHAT` to do: create, update, update-if-match, delete (required)")
	completingValues(c, "mode", sortedNames(modes)...)
	c.RunE = func(c *cobra.Command, args []string) error {
		if modes[mode] == "" {
			return usagef("--mode %q is none", mode).advise("write %s", strings.Join(sortedNames(modes), ", "))
		}
		text, err := in.text(nil)
		if err != nil {
			return err
		}
		list, err := arrayOf(text)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
			line := &liveLine{out: w.err, live: w.terminal, last: w.clock.Now()}
			defer line.end()
			var failed []provisioningclient.Refusal
			for from := 0; from < len(list); from += provisioningclient.MaxBulk {
				part := list[from:min(from+provisioningclient.MaxBulk, len(list))]
				bad, err := dps.Bulk(c.Context(), modes[mode], part)
				if err != nil {
					return err
				}
				failed = append(failed, bad...)
				line.show(itoa(from+len(part)) + " of " + itoa(len(list)))
			}
			line.end()
			return w.printBulkResult(&out, len(list), failed)
		})(c, args)
	}
	return c
}

func (w *world) printBulkResult(out *output, all int, failed []provisioningclient.Refusal) error {
	if out.structured() {
		if err := out.write(w, struct {
			Done   int                          `json:"done"`
			Failed []provisioningclient.Refusal `json:"failed"`
		}{all - len(failed), failed}); err != nil {
			return err
		}
	} else {
		w.printf("%d of %s done\n", all-len(failed), count(all, "enrollment"))
		for _, f := range failed {
			w.printf("%s: %s\n", harmless(f.RegistrationID), harmless(f.Status))
		}
	}
	if len(failed) > 0 {
		return errSilent
	}
	return nil
}

// arrayOf reads a JSON array, or values one after the other.
func arrayOf(text []byte) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil {
		return list, nil
	}
	list = nil
	d := json.NewDecoder(strings.NewReader(string(text)))
	for d.More() {
		var one json.RawMessage
		if err := d.Decode(&one); err != nil {
			return nil, fault.Newf("isthmus.input", fault.Invalid, "entry %d is not JSON: %v", len(list)+1, err).Advise("give a JSON array, or one object on each line")
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, usagef("there is nothing in the input").advise("name a file with --file, or - for standard input")
	}
	return list, nil
}
