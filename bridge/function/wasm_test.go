package function

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// The smallest modules there are, by hand (WebAssembly core specification, section 5).

func leb(n int64) (b []byte) {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func uleb(n int) (b []byte) {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func section(id byte, content []byte) []byte {
	return append(append([]byte{id}, uleb(len(content))...), content...)
}

func vector(items ...[]byte) []byte {
	out := uleb(len(items))
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

func name(s string) []byte { return append(uleb(len(s)), s...) }

// assemble makes a module with one page of memory, in which data stands at 16, of the code of isthmus_alloc and isthmus_process.
func assemble(data string, alloc, process []byte) []byte {
	code := func(b []byte) []byte {
		b = append(append([]byte{0}, b...), 0x0b) // no locals, end
		return append(uleb(len(b)), b...)
	}
	m := []byte("\x00asm\x01\x00\x00\x00")
	m = append(m, section(1, vector([]byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7e}))...)
	m = append(m, section(3, vector([]byte{0}, []byte{1}))...)
	m = append(m, section(5, vector([]byte{0, 1}))...)
	m = append(m, section(7, vector(append(name("memory"), 2, 0), append(name("isthmus_alloc"), 0, 0), append(name("isthmus_process"), 0, 1)))...)
	m = append(m, section(10, vector(code(alloc), code(process)))...)
	return append(m, section(11, vector(append([]byte{0, 0x41, 16, 0x0b}, name(data)...)))...)
}

var (
	at1024   = append([]byte{0x41}, leb(1024)...)                                    // i32.const 1024
	trap     = []byte{0x00}                                                          // unreachable
	forEver  = []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x00}                               // loop br 0 end
	growing  = append([]byte{0x41, 12, 0x40, 0, 0x1a, 0x41}, leb(1024)...)           // 12 pages more, drop, i32.const 1024
	greedy   = []byte{0x41, 0xe4, 0, 0x40, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0, 0x0b} // 100 pages more; if -1: unreachable
	nowhere  = append([]byte{0x42}, leb(0x7fffffff_00000010)...)
	oneEvent = answering(`[[]]`)
)

func answering(s string) []byte { return append([]byte{0x42}, leb(16<<32|int64(len(s)))...) }

// longer traps when the batch is longer than n bytes, and goes on otherwise.
func longer(n int64, then, otherwise []byte) []byte {
	b := append(append([]byte{0x20, 1, 0x41}, leb(n)...), 0x4b, 0x04, 0x40)
	return append(append(append(b, then...), 0x0b), otherwise...)
}

func module(t testing.TB, code []byte, spec resource.WASMFunction) (bridge.Step, error) {
	t.Helper()
	dir := t.TempDir()
	spec.Module = "m.wasm"
	if err := os.WriteFile(filepath.Join(dir, spec.Module), code, 0o600); err != nil {
		t.Fatal(err)
	}
	if spec.SHA256 == "" {
		sum := sha256.Sum256(code)
		spec.SHA256 = strings.ToUpper(hex.EncodeToString(sum[:]))
	}
	f := New()
	if len(code) > 1<<20 && slow {
		f.config, f.looks = wazero.NewRuntimeConfigInterpreter, false
	}
	step, err := f.Step(t.Context(), bridge.StepArgs{Modules: dir, Step: resource.BridgeStep{Name: "m", WASM: &spec}})
	t.Cleanup(func() {
		if step != nil {
			if err := step.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return step, err
}

func TestModules(t *testing.T) {
	short, long := `1`, `"`+strings.Repeat("x", 200)+`"`
	for _, c := range []struct {
		name    string
		data    string
		alloc   []byte
		process []byte
		in      []string
		want    string
	}{
		{"leaves out", `[[]]`, at1024, oneEvent, []string{short}, ""},
		{"goes on after a trap", `[[{}]]`, at1024, longer(200, trap, answering(`[[{}]]`)), []string{short, long, short}, "1|refused: the module does not take the event: it was ended by a trap|1"},
		{"goes on after a hang", `[[{}]]`, at1024, longer(200, forEver, answering(`[[{}]]`)), []string{long, short}, "refused: the module does not take the event: it did not end in time|1"},
		{"answers nonsense", `nonsense`, at1024, answering(`nonsense`), []string{short}, "refused: the module does not take the event: the function's answer is no JSON array of arrays of events"},
		{"answers from nowhere", ``, at1024, nowhere, []string{short}, "refused: the module does not take the event: its answer is not in its memory"},
		{"has no room", `[[]]`, []byte{0x41, 0}, oneEvent, []string{short}, "refused: the module does not take the event: isthmus_alloc gives no room for 52 bytes"},
		{"gives room it does not have", `[[]]`, []byte{0x41, 0x7f}, oneEvent, []string{short}, "refused: the module does not take the event: isthmus_alloc gives no room for 52 bytes"},
		{"wants too much memory", `[[]]`, at1024, append(bytes.Clone(greedy), oneEvent...), []string{short}, "refused: the module does not take the event: it was ended by a trap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			step, err := module(t, assemble(c.data, c.alloc, c.process), resource.WASMFunction{TimeoutMillis: 50, MemoryMiB: 1})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if out, err := step.Process(t.Context(), bodies(c.in...)); err != nil || show(out) != c.want {
					t.Errorf("%s\nwant %s, %v", show(out), c.want, err)
				}
			}
		})
	}
}

func TestAModuleThatLeaksIsReplaced(t *testing.T) {
	step, err := module(t, assemble(`[[{}]]`, growing, answering(`[[{}]]`)), resource.WASMFunction{MemoryMiB: 2})
	if err != nil {
		t.Fatal(err)
	}
	w := step.(*WASM)
	seen := map[*instance]bool{}
	for range 10 {
		if w.instance != nil {
			seen[w.instance] = true
			if size := w.instance.module.Memory().Size(); size > 2<<20*3/4 {
				t.Errorf("%d bytes are in use between calls", size)
			}
		}
		if out, err := step.Process(t.Context(), bodies("1")); err != nil || show(out) != "1" {
			t.Fatal(show(out), err)
		}
	}
	if len(seen) < 3 {
		t.Errorf("%d instances", len(seen))
	}
}

func TestNothingElseIsRun(t *testing.T) {
	good := assemble(`[[]]`, at1024, oneEvent)
	importing := append([]byte("\x00asm\x01\x00\x00\x00"), section(1, vector([]byte{0x60, 0, 0}))...)
	importing = append(importing, section(2, vector(append(append(name("env"), name("open")...), 0, 0)))...)
	hangs := bytes.Replace(good, []byte("isthmus_process"), []byte("isthmus_proceed"), 1)
	for words, c := range map[string]struct {
		code []byte
		spec resource.WASMFunction
		kind fault.Kind
	}{
		"not the one in the manifest":       {good, resource.WASMFunction{SHA256: strings.Repeat("00", 32)}, fault.Denied},
		"no WebAssembly module":             {[]byte("nonsense"), resource.WASMFunction{}, fault.Invalid},
		"exports no isthmus_process":        {hangs, resource.WASMFunction{}, fault.Invalid},
		`imports "open" of "env"`:           {importing, resource.WASMFunction{}, fault.Invalid},
		"exports no isthmus_alloc(i32) i32": {bytes.Replace(good, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 1, 0x7e, 1, 0x7f}, 1), resource.WASMFunction{}, fault.Invalid},
		"exports no memory":                 {bytes.Replace(good, []byte("\x06memory"), []byte("\x06m3mory"), 1), resource.WASMFunction{}, fault.Invalid},
		"or asks for more than 1 MiB":       {bytes.Replace(good, []byte{5, 3, 1, 0, 1}, []byte{5, 3, 1, 0, 100}, 1), resource.WASMFunction{MemoryMiB: 1}, fault.Invalid},
	} {
		_, err := module(t, c.code, c.spec)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), words) {
			t.Errorf("want %q, got %v", words, err)
		}
	}
	f := New()
	defer f.Close(t.Context()) // a test
	if _, err := f.Step(t.Context(), bridge.StepArgs{Modules: t.TempDir(), Step: resource.BridgeStep{Name: "m", WASM: &resource.WASMFunction{Module: "../m"}}}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := f.Step(t.Context(), bridge.StepArgs{Step: resource.BridgeStep{Name: "m"}}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestAModuleIsNotBlamedForTheBridgesEnd(t *testing.T) {
	step, err := module(t, assemble(``, at1024, forEver), resource.WASMFunction{TimeoutMillis: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if out, err := step.Process(ctx, bodies("1", "2")); err == nil {
		t.Error(show(out))
	}
}
