package function

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/resource"
)

// What runs for ever in other ways than the simplest is ended too: by the module itself where it can be.
func TestEndlessModulesEnd(t *testing.T) {
	for name, process := range map[string][]byte{
		"a loop":            forEver,
		"calls without end": {0x20, 0, 0x20, 1, 0x10, 1, 0x1a, 0x20, 0, 0x20, 1, 0x10, 1},
		// Depth times two to the power of depth: no loop, and the stack is never full.
		"calls that branch": append([]byte{0x20, 1, 0x45, 0x04, 0x40, 0x42, 0, 0x0f, 0x0b, 0x20, 0, 0x20, 1, 0x41, 1, 0x6b, 0x10, 1, 0x1a}, 0x20, 0, 0x20, 1, 0x41, 1, 0x6b, 0x10, 1),
	} {
		t.Run(name, func(t *testing.T) {
			code := assemble("[]", at1024, process)
			if _, ok := interruptible(code); !ok {
				t.Fatal("it is not understood")
			}
			step, err := module(t, code, resource.WASMFunction{TimeoutMillis: 50})
			if err != nil {
				t.Fatal(err)
			}
			if w := step.(*WASM); !w.looks {
				t.Error("it does not look itself")
			}
			done := make(chan []bridge.Outcome, 1)
			go func() {
				out, _ := step.Process(t.Context(), bodies(`1`)) // a refusal is no error
				done <- out
			}()
			select {
			case out := <-done:
				if len(out) != 1 || out[0].Refused == nil {
					t.Error(out)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}

// A module that names the globals that are added is none, and does not become one.
func TestModulesDoNotReachWhatEndsThem(t *testing.T) {
	for name, process := range map[string][]byte{
		"the count": {0x41, 0, 0x24, 0, 0x42, 0}, "what ends it": {0x41, 0, 0x24, 1, 0x42, 0}, "reading it": {0x23, 1, 0x1a, 0x42, 0},
	} {
		code := assemble("[]", at1024, process)
		if _, ok := interruptible(code); ok {
			t.Errorf("%s: it is rewritten", name)
		}
		if _, err := module(t, code, resource.WASMFunction{}); err == nil {
			t.Errorf("%s: it runs", name)
		}
	}
}

// FuzzInterruptible holds that what is a module stays one, and what is none does not become one.
func FuzzInterruptible(f *testing.F) {
	for _, process := range [][]byte{trap, forEver, growing, oneEvent, {0x42, 0, 0xfc, 0x0b, 0}, {0xfd, 12, 0, 0}, {0x0e, 2, 0, 0, 0}, {0x41, 0, 0x24, 0}} {
		f.Add(assemble("[]", at1024, process))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			return
		}
		out, ok := interruptible(bytes.Clone(code))
		if !ok {
			return
		}
		r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter())
		defer func() { _ = r.Close(context.Background()) }()
		_, before := r.CompileModule(context.Background(), code)
		_, after := r.CompileModule(context.Background(), out)
		if (before == nil) != (after == nil) {
			t.Errorf("%x: %v, and then %v", code, before, after)
		}
	})
}
