package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newContractShow(w *world) *cobra.Command {
	var (
		out    output
		tenant string
		agreed bool
	)
	c := &cobra.Command{
		Use: "show TENANT/NAME", Short: "Show what a contract says, in words, and who has signed it", Args: cobra.ExactArgs(1),
		Long: `Show the newest version of a contract in words: what is signed is the same as JSON, which -o json has with its digest and the signatures. With --agreed the version that
holds is shown.`,
		Example: "  isthmus contract show ot/telemetry\n  isthmus contract show ot/telemetry --agreed\n  isthmus contract show ot/telemetry -o json > telemetry.json",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.Flags().BoolVar(&agreed, "agreed", false, "show the version that holds, when a newer one waits")
	c.ValidArgsFunction = completeContracts(n, "")
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		k, err := getContract(c.Context(), s, args[0], tenant)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, k)
		}
		version, digest, spec := k.Status.Version, k.Status.Digest, k.Spec
		if agreed {
			if version, digest, spec, err = holding(k); err != nil {
				return err
			}
		}
		w.printf("%s\n\n", w.painter()(bold, fmt.Sprintf("Contract %s, version %d", k.Key().Path(), version)))
		w.lines(contractLines(k.Metadata.Tenant, spec))
		w.printf("\n")
		w.pairs([2]string{"Digest", digest})
		w.contractStanding(k, version)
		w.nextSteps(contractNext(k))
		return nil
	})
	return c
}

// holding returns the version that holds.
func holding(n *resource.Contract) (version int64, digest string, spec resource.ContractSpec, err error) {
	a := n.Status.Agreed
	if a == nil {
		return 0, "", spec, fault.Newf("isthmus.contract", fault.NotFound, "no version of %s holds", n.Key().Path()).
			Advise("it holds once the tenant %s has accepted it", n.Spec.With)
	}
	_, spec, err = a.Read()
	return a.Version, a.Digest, spec, err
}

// lines prints a text line by line, harmlessly.
func (w *world) lines(list []string) {
	for _, l := range list {
		w.printf("%s\n", harmless(l))
	}
}

// contractStanding says how far the agreement is and who signed.
func (w *world) contractStanding(n *resource.Contract, version int64) {
	st := n.Status
	state := w.painter()(contractCell(st.State).colour, string(st.State))
	switch st.State {
	case resource.ContractAgreed:
		state += ": it holds"
	case resource.ContractChanged:
		state += fmt.Sprintf(": version %d holds, version %d waits for %s", st.Agreed.Version, st.Version, n.Spec.With)
	case resource.ContractProposed:
		state += fmt.Sprintf(": it waits for %s, and nothing crosses before", n.Spec.With)
	case resource.ContractWithdrawn:
		state += ": nothing crosses"
	}
	w.printf("State:   %s\n", state) // painted: pairs would take the colour for harm
	if st.Why != "" {
		w.pairs([2]string{"Reason", st.Why})
	}
	var signed []resource.ContractSignature
	switch {
	case st.Agreed != nil && st.Agreed.Version == version:
		signed = st.Agreed.Signatures
	case st.Proposal != nil && st.Version == version:
		signed = []resource.ContractSignature{*st.Proposal}
	}
	if len(signed) > 0 {
		w.printf("\nSigned:\n")
		var rows [][]cell
		for _, s := range signed {
			rows = append(rows, cells("  for "+s.Tenant, "by "+s.By, s.At.UTC().Format("2006-01-02 15:04:05 UTC")))
		}
		w.table(make([]string, 3), rows)
	}
	if len(st.Bridges) > 0 {
		w.printf("\nBridges under it:\n")
		for _, b := range st.Bridges {
			w.printf("  %s\n", harmless(b))
		}
	}
}

func (w *world) nextSteps(next []string) {
	if len(next) == 0 {
		return
	}
	w.printf("\nNext:\n")
	for _, line := range next {
		w.printf("  %s\n", line)
	}
}

func contractNext(n *resource.Contract) []string {
	var out []string
	path := n.Key().Path()
	if n.Status.State == resource.ContractChanged {
		out = append(out, "see what would change:   isthmus contract diff "+path)
	}
	if waits(n) {
		out = append(out, "as the tenant "+n.Spec.With+":", "  "+contractCommand("accept", n), "  "+contractCommand("reject", n))
	}
	if n.Status.Agreed != nil {
		out = append(out, "check the signatures:    isthmus contract verify "+path, "end it:                  "+contractCommand("withdraw", n))
	}
	return out
}

// contractLines says what a contract says, the same lines for the same text: people compare them.
func contractLines(owner string, s resource.ContractSpec) []string {
	until := "no end"
	if !s.Until.IsZero() {
		until = s.Until.UTC().Format(time.RFC3339)
	}
	out := []string{"From:    " + owner, "To:      " + s.With, "Purpose: " + s.Purpose, "Until:   " + until, ""}
	for i, m := range s.Messages {
		head := "Messages of type " + m.Name
		switch {
		case m.When != "":
			head += ", which are those for which " + m.When
		case i == 0:
			head += ", which are all there are"
		default:
			head += ", which are all others"
		}
		out = append(out, head+":")
		out = append(out, fieldLines(m)...)
		rest := "What is not listed is left out."
		if m.Otherwise == resource.OtherwiseDeadLetter {
			rest = "A message with anything that is not listed does not cross."
		}
		out = append(out, "  "+rest, "")
	}
	return append(out, limitLines(s.Limits)...)
}

func fieldLines(m resource.ContractMessage) []string {
	rows := [][]string{{"PART", "FIELD", "CROSSES AS", "HOW", "AND MUST BE"}}
	if m.WholeBody {
		rows = append(rows, []string{"body", "all of it", "", "as it is, whatever it holds", ""})
	}
	for _, part := range []struct {
		name string
		list []resource.ContractField
	}{{"body", m.Fields}, {"property", m.Properties}, {"system", m.System}} {
		for _, f := range part.list {
			as, how := first(f.Rename, f.Path), "as it is"
			switch {
			case f.Drop:
				as, how = "", "not at all"
			case f.Hash:
				how = "hashed"
			}
			rows = append(rows, []string{part.name, f.Path, as, how, strings.Join(fieldMust(f), ", ")})
		}
	}
	if len(rows) == 1 {
		return []string{"  nothing of it crosses but that it came"}
	}
	wide := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, text := range r {
			wide[i] = max(wide[i], len([]rune(text)))
		}
	}
	var out []string
	for _, r := range rows {
		line := " "
		for i, text := range r {
			line += " " + text + strings.Repeat(" ", wide[i]-len([]rune(text))+1)
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

func fieldMust(f resource.ContractField) []string {
	var out []string
	if f.Required {
		out = append(out, "there")
	}
	if f.Type != "" {
		out = append(out, "a "+f.Type)
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	if f.Min != nil {
		out = append(out, "at least "+number(*f.Min))
	}
	if f.Max != nil {
		out = append(out, "at most "+number(*f.Max))
	}
	if len(f.OneOf) > 0 {
		out = append(out, "one of "+strings.Join(f.OneOf, " "))
	}
	return out
}

func limitLines(l resource.ContractLimits) []string {
	out := []string{"Limits:"}
	for _, x := range []struct {
		n    int64
		what string
	}{
		{int64(l.EventsPerSecond), "events a second"}, {l.EventsPerDay, "events a day (UTC)"}, {l.BytesPerDay, "bytes a day (UTC)"}, {int64(l.MaxEventBytes), "bytes an event"},
	} {
		if x.n > 0 {
			out = append(out, "  at most "+strconv.FormatInt(x.n, 10)+" "+x.what)
		}
	}
	if len(out) == 1 {
		out = append(out, "  none")
	}
	return out
}
