package function

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

// fahrenheit builds the example.
func fahrenheit(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "fahrenheit.wasm")
	c := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", out, "github.com/isthmus-io/isthmus/examples/functions/fahrenheit")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if words, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestTheExample(t *testing.T) {
	step, err := module(t, fahrenheit(t), resource.WASMFunction{BatchEvents: 50})
	if err != nil {
		t.Fatal(err)
	}
	out, err := step.Process(t.Context(), bodies(`{"celsius":100,"n":12345678901234567890}`, `{"celsius":"hot"}`, `{}`))
	if err != nil || show(out) != `{"celsius":100,"fahrenheit":212,"n":12345678901234567890}|refused: celsius is no number|` {
		t.Fatal(show(out), err)
	}
	w := step.(*WASM)
	var many []*event.Event
	for i := range 200 {
		many = append(many, &event.Event{Body: []byte(fmt.Sprintf(`{"celsius":%d,"filler":"%0200d"}`, i, i))})
	}
	for range rounds {
		out, err = step.Process(t.Context(), many)
		if err != nil || !strings.Contains(string(out[199].Events[0].Body), `"fahrenheit":390.2`) {
			t.Fatal(err)
		}
		if w.instance != nil && w.instance.module.Memory().Size() > 48<<20 {
			t.Error("it is not replaced")
		}
	}
	// What is no batch makes it panic, which ends the instance and no more.
	if out, err = step.Process(t.Context(), bodies("not JSON", `{"celsius":0}`)); err != nil || !strings.HasPrefix(show(out), "|{") && !strings.HasPrefix(show(out), "refused") {
		t.Error(show(out), err)
	}
}

func BenchmarkModule(b *testing.B) {
	const reading = `{"sensor":"press-4","celsius":21.549,"at":"2026-01-31T12:00:00.123Z","n":123456789,"operator":"M. Curie","note":"a text that fills the reading up to about two hundred and fifty-six bytes, so that it is as large as those of the other measurements, or nearly so, it is"}`
	for name, code := range map[string][]byte{"fahrenheit": fahrenheit(b), "nothing": assemble(`[`+strings.Repeat(`[{}],`, 99)+`[{}]]`, append([]byte{0x41}, leb(2048)...), answering(`[`+strings.Repeat(`[{}],`, 99)+`[{}]]`))} {
		b.Run(name, func(b *testing.B) {
			step, err := module(b, code, resource.WASMFunction{})
			if err != nil {
				b.Fatal(err)
			}
			var batch []*event.Event
			for range 100 {
				batch = append(batch, &event.Event{Body: []byte(reading), System: []event.Property{{Name: event.DeviceID, Value: "press-4"}}})
			}
			for b.Loop() {
				if out, err := step.Process(b.Context(), batch); err != nil || out[0].Refused != nil {
					b.Fatal(show(out), err)
				}
			}
			b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
		})
	}
}
