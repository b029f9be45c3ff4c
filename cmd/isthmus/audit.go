package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

func newAudit(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Read who did what, when and why",
		Long: `Read the audit records: who did what, when and why. Each record carries the hash of the one before it, so that none can be changed or taken out unseen, and the
deployment signs checkpoints of the last one, so that none can be written anew. docs/audit.md tells what auditors need.`,
		Example: "  isthmus audit list --since 24h\n  isthmus audit verify\n  isthmus audit export --to audit.jsonl",
	}
	c.AddCommand(newAuditList(w), newAuditVerify(w), newAuditExport(w), newAuditCheckpoint(w))
	return c
}

func newAuditList(w *world) *cobra.Command {
	var (
		out    output
		filter client.AuditFilter
		since  string
		all    bool
	)
	c := &cobra.Command{
		Use: "list [KIND [NAME]]", Short: "List audit records, the last ones unless told otherwise", Args: cobra.MaximumNArgs(2),
		Example: `  isthmus audit list
  isthmus audit list endpoint ot/plant-7/hub
  isthmus audit list --since 2026-11-01 --all -o json`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&filter.Tenant, "tenant", "t", "", "records of this `TENANT`; your own when absent")
	c.Flags().StringVar(&since, "since", "", "not before this `TIME`: 2h, 7d, 2026-11-22 or 2026-11-22T15:40:00Z")
	c.Flags().IntVar(&filter.Limit, "last", 50, "how many of the last `N` records")
	c.Flags().BoolVar(&all, "all", false, "every record, oldest first")
	c.ValidArgsFunction = completeNames(n)
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		if since != "" {
			if filter.Since, err = parseSince(since, w.clock.Now()); err != nil {
				return err
			}
			if filter.Since.After(w.clock.Now()) {
				return usagef("--since %s is in the future", since)
			}
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		defer s.wait()()
		if len(args) > 0 {
			k, err := findKind(args[0])
			if err != nil {
				return err
			}
			filter.Kind = string(k.kind)
			if len(args) > 1 {
				key, err := parseName(k.kind, args[1], first(filter.Tenant, s.tenant))
				if err != nil {
					return err
				}
				filter.Path = key.Path()
				if k.kind == resource.KindContract { // both sides have records of it
					filter.Tenant = first(filter.Tenant, s.tenant)
				}
				filter.Tenant = first(filter.Tenant, key.Tenant)
			}
		}
		records, err := auditRecords(c, s, filter, all)
		if err != nil {
			return err
		}
		return printAudit(w, out, records)
	}
	return c
}

// auditRecords reads the last records, or all of them page by page.
func auditRecords(c *cobra.Command, s *session, f client.AuditFilter, all bool) ([]client.AuditRecord, error) {
	const page = 1000
	if !all {
		f.Last, f.Limit = true, min(max(f.Limit, 1), page)
		return s.Audit(c.Context(), f)
	}
	f.Limit = page
	var out []client.AuditRecord
	for {
		records, err := s.Audit(c.Context(), f)
		if err != nil {
			return nil, err
		}
		out = append(out, records...)
		if len(records) < page {
			return out, nil
		}
		f.After = records[len(records)-1].Sequence
	}
}

func printAudit(w *world, out output, records []client.AuditRecord) error {
	if out.structured() {
		if records == nil {
			records = []client.AuditRecord{}
		}
		return out.write(w, struct {
			Items []client.AuditRecord `json:"items"`
		}{records})
	}
	if len(records) == 0 {
		w.note("no records")
		return nil
	}
	var rows [][]cell
	for _, r := range records {
		rows = append(rows, cells(itoa(int(r.Sequence)), r.Time.UTC().Format("2006-01-02 15:04:05"), r.Who, r.Operation, strings.TrimSpace(r.Kind+" "+r.Path), r.Why))
	}
	w.table([]string{"NO", "TIME (UTC)", "WHO", "DID", "TO", "WHY"}, rows)
	return nil
}

// parseSince reads a duration back from now (also in days: 7d), a date or a time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return now.Add(-24 * d), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since %q is no time", s).advise("write 2h, 7d, 2026-11-22 or 2026-11-22T15:40:00Z")
}
