package function

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	maxModule    = 128 << 20
	usualMemory  = 64 // MiB
	usualMillis  = 1000
	pagesPerMiB  = 16
	beginTime    = 30 * time.Second // for _initialize
	triesAlone   = 2                // an event must end so many new instances before it is refused
	exportAlloc  = "isthmus_alloc"
	exportCall   = "isthmus_process"
	exportMemory = "memory"
)

// WASM is a step that runs a module.
type WASM struct {
	spec     resource.WASMFunction
	step     string
	limit    time.Duration
	memory   uint32 // bytes it may have
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	looks    bool // at its global whether it is to end
	log      *slog.Logger

	instance *instance // nil: the next call makes one
	in       []byte
}

// instance is a module that runs.
type instance struct {
	module  api.Module
	alloc   api.Function
	process api.Function
	stop    api.MutableGlobal // nil: the runtime ends it
}

// call calls a function of the module, which is ended with ctx.
func (i *instance) call(ctx context.Context, f api.Function, args ...uint64) ([]uint64, error) {
	if i.stop == nil {
		return f.Call(ctx, args...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	over := context.AfterFunc(ctx, func() { i.stop.Set(1) })
	res, err := f.Call(ctx, args...)
	if !over() && err == nil { // the next call would end
		err = ctx.Err()
	}
	return res, err
}

func (f *Functions) newWASM(ctx context.Context, args bridge.StepArgs) (_ *WASM, err error) {
	spec := *args.Step.WASM
	w := &WASM{spec: spec, step: args.Step.Name, limit: time.Duration(spec.TimeoutMillis) * time.Millisecond, log: args.Log}
	if w.limit <= 0 {
		w.limit = usualMillis * time.Millisecond
	}
	mib := spec.MemoryMiB
	if mib <= 0 {
		mib = usualMemory
	}
	w.memory = uint32(mib) << 20 // at most 1024
	code, err := readModule(args.Modules, &spec)
	if err != nil {
		return nil, err
	}
	config := f.config().WithCompilationCache(f.cache).WithMemoryLimitPages(uint32(mib) * pagesPerMiB) // at most 1024
	if looking, ok := interruptible(code); ok && f.looks {
		w.looks = w.compile(ctx, config, looking) == nil
	}
	if !w.looks {
		err = w.compile(ctx, config.WithCloseOnContextDone(true), code)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = w.runtime.Close(context.WithoutCancel(ctx)) // what matters is the error
		}
	}()
	if err := w.check(); err != nil {
		return nil, err
	}
	return w, w.begin(ctx)
}

// compile makes the runtime and the module ready, or nothing.
func (w *WASM) compile(ctx context.Context, config wazero.RuntimeConfig, code []byte) error {
	r := wazero.NewRuntimeWithConfig(ctx, config)
	_, err := wasi_snapshot_preview1.Instantiate(ctx, r)
	if err != nil {
		err = fault.Wrap("function.newWASM", fault.Internal, err, "")
	} else if w.compiled, err = r.CompileModule(ctx, code); err != nil {
		err = w.invalid("cannot be run: it is no WebAssembly module, or asks for more than %d MiB", w.memory>>20).Because(err)
	}
	if err != nil {
		_ = r.Close(context.WithoutCancel(ctx)) // what matters is the error
		return err
	}
	w.runtime = r
	return nil
}

// readModule returns a module whose hash is the one in the manifest.
func readModule(folder string, spec *resource.WASMFunction) ([]byte, error) {
	op := "function.readModule"
	path := filepath.Join(folder, filepath.Base(spec.Module))
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Newf(op, fault.NotFound, "there is no module %s in %s", spec.Module, folder).Advise("put it there, on the machine that carries the bridge")
	case err != nil:
		return nil, fault.Wrap(op, fault.Unavailable, err, "the module "+spec.Module+" cannot be read")
	}
	defer f.Close() // read only
	code, err := io.ReadAll(io.LimitReader(f, maxModule+1))
	switch {
	case err != nil:
		return nil, fault.Wrap(op, fault.Unavailable, err, "the module "+spec.Module+" cannot be read")
	case len(code) > maxModule:
		return nil, fault.Newf(op, fault.TooLarge, "the module %s is larger than %d MiB", spec.Module, maxModule>>20)
	}
	sum := sha256.Sum256(code)
	want, _ := hex.DecodeString(spec.SHA256)
	if subtle.ConstantTimeCompare(sum[:], want) != 1 {
		return nil, fault.Newf(op, fault.Denied, "the SHA-256 of the module %s is %x, which is not the one in the manifest", spec.Module, sum).
			Advise("bring the module that was meant, or apply a manifest with this hash")
	}
	return code, nil
}

func (w *WASM) invalid(format string, args ...any) *fault.Error {
	return fault.Newf("function.newWASM", fault.Invalid, "the module "+w.spec.Module+" "+format, args...)
}

// check looks at what a module brings and asks for, before any of it runs.
func (w *WASM) check() error {
	for _, i := range w.compiled.ImportedFunctions() {
		if from, name, _ := i.Import(); from != wasi_snapshot_preview1.ModuleName {
			return w.invalid("imports %.60q of %.60q", name, from).Advise("only wasi_snapshot_preview1 is there")
		}
	}
	if len(w.compiled.ImportedMemories()) > 0 {
		return w.invalid("imports its memory").Advise("it must export one")
	}
	if _, there := w.compiled.ExportedMemories()[exportMemory]; !there {
		return w.invalid("exports no %s", exportMemory)
	}
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	for name, want := range map[string][2][]api.ValueType{exportAlloc: {{i32}, {i32}}, exportCall: {{i32, i32}, {i64}}} {
		f, there := w.compiled.ExportedFunctions()[name]
		if !there || string(f.ParamTypes()) != string(want[0]) || string(f.ResultTypes()) != string(want[1]) {
			return w.invalid("exports no %s", signature(name))
		}
	}
	return nil
}

func signature(name string) string {
	if name == exportAlloc {
		return name + "(i32) i32"
	}
	return name + "(i32, i32) i64"
}

// begin makes a new instance.
func (w *WASM) begin(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, max(beginTime, w.limit))
	defer cancel()
	m, err := w.runtime.InstantiateModule(limited, w.compiled, wazero.NewModuleConfig().WithName("").
		WithStartFunctions().WithRandSource(rand.Reader).WithSysWalltime().WithSysNanotime())
	var i *instance
	if err == nil {
		i = &instance{module: m, alloc: m.ExportedFunction(exportAlloc), process: m.ExportedFunction(exportCall)}
		if w.looks {
			i.stop, _ = m.ExportedGlobal(stopGlobal).(api.MutableGlobal)
		}
		if f := m.ExportedFunction("_initialize"); f != nil {
			if _, err = i.call(limited, f); err != nil {
				_ = m.Close(context.WithoutCancel(ctx)) // what matters is the error
			}
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.invalid("does not begin: %s", how(limited, err)).Because(err)
	}
	w.instance = i
	return nil
}

// how says in words how a call ended. The words are not the module's.
func how(ctx context.Context, err error) string {
	var exit *sys.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "it did not end in time"
	case errors.As(err, &exit):
		return fmt.Sprintf("it exited with %d", exit.ExitCode())
	}
	return "it was ended by a trap"
}

// drop ends the instance.
func (w *WASM) drop(ctx context.Context) {
	if w.instance != nil {
		_ = w.instance.module.Close(context.WithoutCancel(ctx)) // it is of no more use either way
		w.instance = nil
	}
}

// Close ends the module.
func (w *WASM) Close(ctx context.Context) error {
	w.drop(ctx)
	return w.runtime.Close(context.WithoutCancel(ctx))
}

// Process implements bridge.Step. An error means that no instance can be made, or that ctx has ended.
func (w *WASM) Process(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	return chunks(batch, w.spec.BatchEvents, func(some []*event.Event) ([]bridge.Outcome, error) { return w.some(ctx, some) })
}

func (w *WASM) some(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	out, words, err := w.call(ctx, batch)
	if err != nil || words == "" {
		return out, err
	}
	w.log.Info("a module does not take a batch: its events are given one by one", "step", w.step, "events", len(batch), "reason", words)
	out = make([]bridge.Outcome, len(batch))
	for i := range batch {
		for range triesAlone {
			var one []bridge.Outcome
			if one, words, err = w.call(ctx, batch[i:i+1]); err != nil {
				return nil, err
			}
			if words == "" {
				out[i] = one[0]
				break
			}
		}
		if words != "" {
			out[i] = refuse("the module does not take the event: %s", words)
		}
	}
	return out, nil
}

// call gives events to the instance. words say why there is no outcome; the instance is gone then.
func (w *WASM) call(ctx context.Context, batch []*event.Event) (out []bridge.Outcome, words string, err error) {
	if w.instance == nil {
		if err := w.begin(ctx); err != nil {
			return nil, "", err
		}
	}
	w.in = appendBatch(w.in[:0], batch)
	limited, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	answer, words := w.run(limited)
	if words == "" {
		if out, err = parseAnswer(answer, batch); err != nil {
			words = fault.Message(err)
		}
	}
	switch {
	case words != "":
		w.drop(ctx)
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
	case uint64(w.instance.module.Memory().Size())*4 > uint64(w.memory)*3:
		w.drop(ctx)
	}
	if cap(w.in) > 4<<20 {
		w.in = nil
	}
	return out, words, nil
}

// run is one call. The answer is the module's memory: it holds until the next.
func (w *WASM) run(ctx context.Context) (answer []byte, words string) {
	i := w.instance
	place, err := i.call(ctx, i.alloc, uint64(len(w.in)))
	if err != nil {
		return nil, how(ctx, err)
	}
	at := uint32(place[0]) // an i32
	if at == 0 || !i.module.Memory().Write(at, w.in) {
		return nil, fmt.Sprintf("%s gives no room for %d bytes", exportAlloc, len(w.in))
	}
	res, err := i.call(ctx, i.process, uint64(at), uint64(len(w.in)))
	if err != nil {
		return nil, how(ctx, err)
	}
	answer, ok := i.module.Memory().Read(uint32(res[0]>>32), uint32(res[0])) // two i32
	if !ok || len(answer) > maxAnswer {
		return nil, "its answer is not in its memory"
	}
	return answer, ""
}
