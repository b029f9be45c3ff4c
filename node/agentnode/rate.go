package agentnode

import (
	"math"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Rate is a number of bytes per second as people write it: 500000, 500k, 2MB, 1.5MiB/s. It is a flag's value.
type Rate int64

var units = []struct {
	name string
	size float64
}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}}

// String writes bytes.
func (r *Rate) String() string { return strconv.FormatInt(int64(*r), 10) }

// Type is what help calls the value.
func (*Rate) Type() string { return "RATE" }

// Set reads a rate. Invalid when it is none.
func (r *Rate) Set(text string) error {
	number, _ := strings.CutSuffix(strings.ToLower(strings.TrimSpace(text)), "/s")
	size := 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, size = rest, u.size
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v*size > 1e15 {
		return fault.Newf("agentnode.Rate", fault.Invalid, "%q is no number of bytes per second", text).Advise("write it as 500k, 2MB or 1.5MiB")
	}
	*r = Rate(v * size)
	return nil
}
