package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

func newContractDiff(w *world) *cobra.Command {
	var tenant string
	c := &cobra.Command{
		Use: "diff TENANT/NAME", Short: "Show what the version that waits would change", Args: cobra.ExactArgs(1),
		Long:    "Show, in words, the version that holds (-) beside the newest one (+). Nothing is printed when they are the same.",
		Example: "  isthmus contract diff ot/telemetry",
	}
	n := addConnection(w, c)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.ValidArgsFunction = completeContracts(n, "")
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		k, err := getContract(c.Context(), s, args[0], tenant)
		if err != nil {
			return err
		}
		version, _, spec, err := holding(k)
		if err != nil {
			return err
		}
		if version == k.Status.Version {
			w.note("version %d holds, and no other waits", version)
			return nil
		}
		paint := w.painter()
		w.printf("%s\n%s\n", paint(red, fmt.Sprintf("- version %d, which holds", version)), paint(green, fmt.Sprintf("+ version %d, which waits for %s", k.Status.Version, k.Spec.With)))
		for _, l := range compareLines(contractLines(k.Metadata.Tenant, spec), contractLines(k.Metadata.Tenant, k.Spec)) {
			text := string(l.mark) + " " + harmless(l.text)
			switch l.mark {
			case '-':
				text = paint(red, text)
			case '+':
				text = paint(green, text)
			}
			w.printf("%s\n", text)
		}
		return nil
	})
	return c
}

// marked is a line of a comparison: it went (-), came (+), or stayed.
type marked struct {
	mark rune
	text string
}

// maxCompared bounds the pairs of lines that are compared, and with them the memory for it.
const maxCompared = 4 << 20

// compareLines compares two texts by their longest common part, and leaves out empty lines that stay. Where too much differs for that, all
// that differs goes before all that comes.
func compareLines(before, after []string) []marked {
	var out []marked
	stay := func(lines []string) {
		for _, l := range lines {
			if l != "" {
				out = append(out, marked{' ', l})
			}
		}
	}
	head := 0
	for head < min(len(before), len(after)) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < min(len(before), len(after))-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	stay(before[:head])
	end := before[len(before)-tail:]
	before, after = before[head:len(before)-tail], after[head:len(after)-tail]
	width := len(after) + 1
	var common []int // of what is left behind each pair of places
	if (len(before)+1)*width <= maxCompared {
		common = make([]int, (len(before)+1)*width)
		for i := range slices.Backward(before) {
			for j := range slices.Backward(after) {
				at := i*width + j
				if before[i] == after[j] {
					common[at] = common[at+width+1] + 1
				} else {
					common[at] = max(common[at+width], common[at+1])
				}
			}
		}
	}
	for i, j := 0, 0; i < len(before) || j < len(after); {
		switch at := i*width + j; {
		case common != nil && i < len(before) && j < len(after) && before[i] == after[j]:
			stay(before[i : i+1])
			i, j = i+1, j+1
		case i < len(before) && (j == len(after) || common == nil || common[at+width] >= common[at+1]):
			out = append(out, marked{'-', before[i]})
			i++
		default:
			out = append(out, marked{'+', after[j]})
			j++
		}
	}
	stay(end)
	return out
}
