package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

func newApply(w *world) *cobra.Command {
	var (
		files  []string
		opt    client.ApplyOptions
		out    output
		change []client.Change
	)
	c := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make resources as manifests say",
		Long: `Make or change resources as YAML manifests say, all or nothing: when one of them is refused, nothing is changed. Applying the same manifests
again changes nothing.`,
		Example: `  isthmus apply -f plant-7.yaml --reason "new line 3"
  isthmus apply -f plants/ --dry-run
  isthmus get networks -o yaml | isthmus apply -f -`,
		Args: cobra.NoArgs,
	}
	n := addConnection(w, c)
	addFiles(c, &files)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVar(&opt.DryRun, "dry-run", false, "decide everything and change nothing; show what would change")
	c.Flags().StringVar(&opt.Reason, "reason", "", "`WHY`; stands in the audit records")
	c.RunE = func(c *cobra.Command, _ []string) error {
		set, err := loadManifests(w, files)
		if err != nil {
			return err
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		defer s.wait()()
		objects := set.Objects()
		if change, err = s.Apply(c.Context(), objects, opt); err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, struct {
				DryRun  bool            `json:"dryRun"`
				Changes []client.Change `json:"changes"`
			}{opt.DryRun, change})
		}
		return printChanges(c.Context(), w, s, objects, change, opt.DryRun)
	}
	return c
}

func addFiles(c *cobra.Command, files *[]string) {
	c.Flags().StringArrayVarP(files, "file", "f", nil, "manifest `FILE`, directory of *.yaml and *.yml, or - for standard input; may be repeated")
	_ = c.MarkFlagFilename("file", "yaml", "yml") // the flag exists
}

// loadManifests reads what -f names, and says on standard error what was ignored.
func loadManifests(w *world, files []string) (*manifest.Set, error) {
	if len(files) == 0 {
		return nil, usagef("-f is missing").advise("name a file, a directory, or - for standard input")
	}
	set, err := manifest.Load(files, w.in)
	if err != nil {
		return nil, err
	}
	const most = 3
	for i, note := range set.Notes {
		if i == most {
			w.note("and %d more like these", len(set.Notes)-most)
			break
		}
		w.note("%s", note)
	}
	if len(set.Documents) == 0 {
		return nil, fault.Newf("isthmus.apply", fault.Invalid, "%s holds no resource", strings.Join(files, ", ")).
			Advise("a manifest begins with: apiVersion: %s", resource.APIVersion)
	}
	return set, nil
}

func printChanges(ctx context.Context, w *world, s *session, objects []resource.Object, changes []client.Change, dry bool) error {
	paint := w.painter()
	colours := map[string]colour{"created": green, "updated": yellow, "unchanged": dim}
	count := map[string]int{}
	for i, ch := range changes {
		count[ch.Action]++
		action := ch.Action
		if dry && action != "unchanged" {
			action = "would be " + action
		}
		w.printf("%s %s %s\n", singular(resource.Kind(ch.Kind)), ch.Path, paint(colours[ch.Action], action))
		if dry && ch.Action == "updated" && i < len(objects) {
			was, err := s.Get(ctx, objects[i].Head().Key())
			if err != nil {
				return err
			}
			for _, d := range difference(was, objects[i]) {
				w.printf("    %s\n", d)
			}
		}
		for _, warning := range ch.Warnings {
			w.printf("    %s %s\n", paint(yellow, "warning:"), warning)
		}
	}
	var parts []string
	for _, a := range []string{"created", "updated", "unchanged"} {
		if count[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[a], a))
		}
	}
	summary := strings.Join(parts, ", ")
	if dry {
		summary = "dry run, nothing was changed: " + summary
	}
	w.printf("%s\n", summary)
	return nil
}

// difference lists what differs between two nouns in what people write: "spec.target: 10.1.0.4 -> 10.1.0.5".
func difference(was, is resource.Object) []string {
	before, after := leaves(was), leaves(is)
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	var out []string
	for p := range paths {
		b, hadIt := before[p]
		a, hasIt := after[p]
		switch {
		case !hadIt:
			out = append(out, fmt.Sprintf("%s: %s (new)", p, a))
		case !hasIt:
			out = append(out, fmt.Sprintf("%s: %s (removed)", p, b))
		case a != b:
			out = append(out, fmt.Sprintf("%s: %s -> %s", p, b, a))
		}
	}
	slices.Sort(out)
	return out
}
