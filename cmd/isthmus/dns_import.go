package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// importBatch is how many record sets one apply holds: the control plane takes 10,000.
const importBatch = 5000

func newDNSImport(w *world) *cobra.Command {
	var (
		zone   string
		tenant string
		opt    client.ApplyOptions
		out    output
	)
	c := &cobra.Command{
		Use:   "import FILE --zone TENANT/ZONE",
		Short: "Bring a zone file's records into a private zone",
		Long: `Bring the records of a zone file, as BIND writes them, into a private zone as record sets. Every line that cannot be taken is named, and then nothing
is changed. Records that are there already and not in the file stay. The zone's own SOA and NS records are left out.`,
		Example: `  isthmus dns import db.corp --zone ot/corp.example --dry-run
  isthmus dns import db.corp --zone ot/corp.example --reason "moved from BIND"`,
		Args: cobra.ExactArgs(1),
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&zone, "zone", "", "`TENANT/ZONE` that gets the records")
	completeFlag(n, c, "zone", resource.KindZone)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a zone that leaves it out")
	c.Flags().BoolVar(&opt.DryRun, "dry-run", false, "decide everything and change nothing")
	c.Flags().StringVar(&opt.Reason, "reason", "", "`WHY`; stands in the audit records")
	out.addTo(c, outTable, outJSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		if zone == "" {
			return usagef("--zone is missing").advise("isthmus dns import %s --zone TENANT/ZONE", args[0])
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		key, err := parseName(resource.KindZone, zone, first(tenant, s.tenant))
		if err != nil {
			return err
		}
		got, err := readZone(key.Name, args[0])
		if err != nil {
			return err
		}
		counts := map[string]int{}
		defer s.wait()()
		objects := make([]resource.Object, len(got.Sets))
		for i, set := range got.Sets {
			set.Metadata.Tenant = key.Tenant
			objects[i] = set
		}
		for start := 0; start < len(objects); start += importBatch {
			changes, err := s.Apply(c.Context(), objects[start:min(start+importBatch, len(objects))], opt)
			if err != nil {
				if start > 0 {
					w.note("the first %d record sets were taken; the same command goes on where it stopped", start)
				}
				return err
			}
			for _, ch := range changes {
				counts[ch.Action]++
			}
		}
		if out.structured() {
			return out.write(w, struct {
				DryRun  bool           `json:"dryRun"`
				Actions map[string]int `json:"actions"`
				Notes   []string       `json:"notes,omitempty"`
			}{opt.DryRun, counts, got.Notes})
		}
		for _, note := range got.Notes {
			w.note("%s", note)
		}
		verb := "took"
		if opt.DryRun {
			verb = "would take"
		}
		w.printf("%s\n", fmt.Sprintf("%s %d record sets into %s: %d created, %d updated, %d unchanged", verb, len(objects), key.Path(), counts["created"], counts["updated"], counts["unchanged"]))
		return nil
	}
	return c
}
