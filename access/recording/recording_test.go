package recording_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// disk is a file that can be full.
type disk struct {
	mu     sync.Mutex // guards the fields below
	data   bytes.Buffer
	room   int // bytes; none left is an error
	closed int
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.data.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

func (d *disk) bytes() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.data.Bytes())
}

func emptyDisk() *disk { return &disk{room: 1 << 30} }

func key(t testing.TB) (public, private string) {
	t.Helper()
	public, private, err := recording.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func write(t testing.TB, d *disk, public string, clk clock.Clock, opts ...recording.Option) *recording.Writer {
	t.Helper()
	w, err := recording.NewWriter(d, []string{public}, recording.Header{Width: 100, Height: 30, Timestamp: noon, Title: "alice@press-4", Term: "xterm"}, clk, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func read(t testing.TB, file []byte, private string) (text string, whole bool) {
	t.Helper()
	r, err := recording.Open(bytes.NewReader(file), private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.Whole()
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestARecordingIsAnAsciicast(t *testing.T) {
	public, private := key(t)
	_, another := key(t)
	d, clk := emptyDisk(), clock.NewFake(noon)
	w := write(t, d, public, clk)
	clk.Advance(1500 * time.Millisecond)
	first := w.Terminal(100, 30, "xterm")
	must(t, first.Output([]byte("$ \x1b[1m\u00e9")))
	must(t, first.Input([]byte("ls <\r")))
	clk.Advance(time.Second)
	must(t, first.Resize(120, 40), w.Mark("upload of ../../etc/\x1bpasswd"))
	second := w.Terminal(80, 24, "vt100")
	must(t, second.Output([]byte("two")))
	must(t, w.Close(), w.Close())
	if d.closed != 1 {
		t.Errorf("the file was closed %d times", d.closed)
	}
	const want = `{"version":2,"width":100,"height":30,"timestamp":1795348800,"title":"alice@press-4","env":{"TERM":"xterm"}}
[1.500000, "o", "$ \u001b[1mé"]
[1.500000, "i", "ls <\r"]
[2.500000, "r", "120x40"]
[2.500000, "m", "upload of ../../etc/passwd"]
[2.500000, "m", "terminal 2"]
[2.500000, "r2", "80x24"]
[2.500000, "o2", "two"]
`
	if got, whole := read(t, d.bytes(), private); got != want || !whole {
		t.Errorf("whole %v, got\n%s", whole, got)
	}
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if bytes.Contains(d.bytes(), []byte("passwd")) {
		t.Error("it is not encrypted")
	}
	if _, err := recording.Open(bytes.NewReader(d.bytes()), another); fault.KindOf(err) != fault.Denied {
		t.Errorf("with another key: %v", err)
	}
	if err := w.Output([]byte("x")); fault.KindOf(err) != fault.Conflict {
		t.Errorf("after the end: %v", err)
	}
}

func TestEveryRecipientReads(t *testing.T) {
	d := emptyDisk()
	var public, private []string
	for range 3 {
		p, s := key(t)
		public, private = append(public, p), append(private, s)
	}
	w, err := recording.NewWriter(d, public, recording.Header{}, clock.System{})
	must(t, err)
	must(t, w.Output([]byte("hello")), w.Close())
	for _, p := range private {
		if text, whole := read(t, d.bytes(), p); !whole || !strings.Contains(text, `"hello"`) || !strings.Contains(text, `"width":80,"height":24`) {
			t.Errorf("whole %v: %s", whole, text)
		}
	}
}

func TestBadKeysAreTold(t *testing.T) {
	public, private := key(t)
	for _, r := range [][]string{nil, {""}, {"age1"}, {public, private}, make([]string, 17)} {
		d := emptyDisk()
		_, err := recording.NewWriter(d, r, recording.Header{}, clock.System{})
		if fault.KindOf(err) != fault.Invalid || d.closed > 0 || len(d.bytes()) > 0 {
			t.Errorf("%.20q: %v", r, err)
		}
	}
	_, err := recording.Open(strings.NewReader("x"), private[:len(private)-1])
	if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), private[16:30]) {
		t.Errorf("half a key: %v", err)
	}
	if _, err := recording.Open(strings.NewReader("something else"), private); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no recording: %v", err)
	}
	if err := recording.CheckRecipient(public); err != nil {
		t.Error(err)
	}
	if err := recording.CheckRecipient(private); err == nil {
		t.Error("a private key was taken for a public one")
	}
}

// A process that is killed has not called Close: what was recorded until the last time its clock let Run write is there.
func TestAKilledProcessLosesTwoSeconds(t *testing.T) {
	public, private := key(t)
	d, clk := emptyDisk(), clock.NewFake(noon)
	w := write(t, d, public, clk)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	waiting := func() {
		for clk.Timers() == 0 {
		}
	}
	waiting()
	for i := range 3 {
		must(t, w.Output(fmt.Appendf(nil, "line %d\r\n", i)))
		clk.Advance(recording.FlushEvery)
		waiting()
	}
	must(t, w.Output([]byte("too late")))
	file := d.bytes()
	cancel()
	wg.Wait()
	text, whole := read(t, file, private)
	if whole || !strings.Contains(text, `line 2\r\n`) || strings.Contains(text, "too late") {
		t.Errorf("whole %v:\n%s", whole, text)
	}
	// Cut anywhere, it is the beginning of what it was, and tells that the end is missing.
	for n := len(file) - 1; n > 100; n -= 7 {
		r, err := recording.Open(bytes.NewReader(file[:n]), private)
		must(t, err)
		part, err := io.ReadAll(r)
		if err != nil || r.Whole() || !strings.HasPrefix(text, string(part)) {
			t.Fatalf("cut at %d: whole %v, %v\n%s", n, r.Whole(), err, part)
		}
	}
}

func TestAFullDiskIsToldWithTheNextByte(t *testing.T) {
	public, _ := key(t)
	if _, err := recording.NewWriter(&disk{room: 3}, []string{public}, recording.Header{}, clock.System{}); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, errFull) {
		t.Errorf("at the beginning: %v", err)
	}
	d := &disk{room: 500}
	w := write(t, d, public, clock.System{})
	must(t, w.Output([]byte("a")), w.Flush())
	must(t, w.Output([]byte("b")))
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Fatalf("the disk was full and it said %v", err)
	}
	size := len(d.bytes())
	d.room = 1 << 20
	for _, err := range []error{w.Output([]byte("c")), w.Input([]byte("c")), w.Resize(1, 1), w.Mark("c"), w.Flush(), w.Run(t.Context()), w.Close()} {
		if !errors.Is(err, errFull) {
			t.Errorf("afterwards: %v", err)
		}
	}
	if len(d.bytes()) != size || d.closed != 1 {
		t.Errorf("%d bytes were written after the error; closed %d times", len(d.bytes())-size, d.closed)
	}
}

func TestAFullRecordingSaysSo(t *testing.T) {
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.System{}, recording.WithMaxBytes(10_000))
	block := bytes.Repeat([]byte("0123456789"), 100)
	for range 50 {
		must(t, w.Output(block))
	}
	must(t, w.Input([]byte("still seen\r")))
	for i := range 100 {
		must(t, w.Mark(fmt.Sprintf("marker %d", i)), w.Resize(i+1, i+1))
	}
	long := bytes.Repeat([]byte("x"), 1000)
	var over error
	typed := 0
	for over == nil && typed < 6000 {
		over = w.Input(long)
		typed++
	}
	if fault.KindOf(over) != fault.Exhausted || typed < 4000 || typed == 6000 {
		t.Errorf("%d kilobytes were typed: %v", typed, over)
	}
	if err := w.Close(); !errors.Is(err, over) {
		t.Errorf("at the end: %v", err)
	}
	text, whole := read(t, d.bytes(), private)
	shown := strings.Count(text, string(block))
	if !whole || shown != 9 || len(text) > 10_000+80_000+4<<20 || strings.Count(text, string(long)) != typed-1 {
		t.Errorf("whole %v, %d blocks, %d bytes", whole, shown, len(text))
	}
	for _, want := range []string{"the recording is full: what is shown", "marker 99", "still seen", fmt.Sprintf("not recorded: %d bytes shown; ", (50-shown)*1000)} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func TestAFullRecordingHasNoRoomForMarkersWithoutEnd(t *testing.T) {
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.System{}, recording.WithMaxBytes(100))
	var over error
	n := 0
	for over == nil && n < 10_000 {
		over = w.Mark(fmt.Sprintf("marker %d", n))
		n++
	}
	if fault.KindOf(over) != fault.Exhausted || n == 10_000 {
		t.Errorf("%d markers: %v", n, over)
	}
	_ = w.Close()
	if text, whole := read(t, d.bytes(), private); !whole || !strings.Contains(text, fmt.Sprintf("marker %d\"", n-2)) {
		t.Errorf("whole %v, the last that was taken is missing", whole)
	}
}

func TestCharactersAreNotCutInTwo(t *testing.T) {
	public, private := key(t)
	const said = "gr\u00fc\u00dfe \u4e16\u754c \U0001f600 end"
	for step := 1; step < 8; step++ {
		d := emptyDisk()
		w := write(t, d, public, clock.System{})
		for i := 0; i < len(said); i += step {
			must(t, w.Output([]byte(said[i:min(i+step, len(said))])))
		}
		must(t, w.Output([]byte{0xff, 'x', 0xe4, 0xb8}), w.Close())
		text, _ := read(t, d.bytes(), private)
		var out bytes.Buffer
		must(t, recording.Replay(t.Context(), strings.NewReader(text), &out, recording.Options{Raw: true}, clock.System{}))
		if want := said + "\uFFFDx\uFFFD"; out.String() != want {
			t.Errorf("in steps of %d: %q", step, out.String())
		}
	}
}

func TestLongOutputIsManySegments(t *testing.T) {
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.System{})
	block := bytes.Repeat([]byte("\x00\x01\x02abc"), 200_000)
	must(t, w.Output(block))
	written := len(d.bytes())
	must(t, w.Close())
	if written < 1<<20 {
		t.Errorf("only %d bytes were on the disk before the end", written)
	}
	text, whole := read(t, d.bytes(), private)
	events, err := recording.NewEvents(strings.NewReader(text))
	must(t, err)
	var got []byte
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		got = append(got, e.Data...)
	}
	if !whole || !bytes.Equal(got, block) {
		t.Errorf("whole %v, %d bytes of %d", whole, len(got), len(block))
	}
}

func TestDamageIsFound(t *testing.T) {
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.System{})
	var at []int // where each segment begins
	for i := range 4 {
		at = append(at, len(d.bytes()))
		must(t, w.Output(fmt.Appendf(nil, "segment %d", i)), w.Flush())
	}
	at = append(at, len(d.bytes()))
	must(t, w.Close())
	file := d.bytes()
	part := func(i int) []byte { return file[at[i]:at[i+1]] }
	other := emptyDisk()
	w = write(t, other, public, clock.System{})
	must(t, w.Output([]byte("forged")), w.Flush(), w.Output([]byte("forged")), w.Close())
	flipped := bytes.Clone(file)
	flipped[at[2]+300] ^= 1
	for _, c := range []struct {
		name string
		file []byte
	}{
		{"one taken out", bytes.Join([][]byte{file[:at[1]], file[at[2]:]}, nil)},
		{"the first taken out", bytes.Join([][]byte{file[:at[0]], file[at[1]:]}, nil)},
		{"two changed places", bytes.Join([][]byte{file[:at[1]], part(2), part(1), file[at[3]:]}, nil)},
		{"one repeated", bytes.Join([][]byte{file[:at[2]], part(1), file[at[2]:]}, nil)},
		{"another recording's", bytes.Join([][]byte{file[:at[1]], other.bytes()[len(other.bytes())-(len(other.bytes())-at[0])/2:]}, nil)},
		{"a bit", flipped},
		{"something behind it", append(bytes.Clone(file), 'x')},
		{"a length", append(bytes.Clone(file[:at[1]]), 0xff, 0xff, 0xff, 0xff)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := recording.Open(bytes.NewReader(c.file), private)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTerminalsAtOnce(t *testing.T) {
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.System{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	var typing sync.WaitGroup
	for range 5 {
		term := w.Terminal(80, 24, "xterm")
		typing.Go(func() {
			for range 200 {
				must(t, term.Output([]byte("0123456789")), term.Input([]byte("x")))
			}
		})
	}
	typing.Wait()
	must(t, w.Close())
	cancel()
	wg.Wait()
	text, _ := read(t, d.bytes(), private)
	for n := 1; n <= 5; n++ {
		var out bytes.Buffer
		must(t, recording.Replay(t.Context(), strings.NewReader(text), &out, recording.Options{Raw: true, Terminal: n}, clock.System{}))
		if out.String() != strings.Repeat("0123456789", 200) {
			t.Errorf("terminal %d shows %d bytes", n, out.Len())
		}
	}
}

func FuzzOpen(f *testing.F) {
	public, private := key(f)
	d := emptyDisk()
	w := write(f, d, public, clock.NewFake(noon))
	must(f, w.Output([]byte("one")), w.Flush(), w.Output([]byte("two")), w.Flush(), w.Output([]byte("three")), w.Close())
	file := d.bytes()
	text, _ := read(f, file, private)
	f.Add([]byte{}, 0, len(file))
	f.Add([]byte{1}, 400, 0)
	f.Add([]byte{}, 30, 500)
	// change is written over the file at a place, and the file is cut. What is read is the beginning of what was written, or an error.
	f.Fuzz(func(t *testing.T, change []byte, at, cut int) {
		bad := bytes.Clone(file)
		if at >= 0 && at < len(bad) {
			copy(bad[at:], change)
		}
		if cut >= 0 && cut < len(bad) {
			bad = bad[:cut]
		}
		r, err := recording.Open(bytes.NewReader(bad), private)
		if err != nil {
			return
		}
		got, err := io.ReadAll(r)
		if !strings.HasPrefix(text, string(got)) {
			t.Errorf("read %q", got)
		}
		if err == nil && r.Whole() != bytes.Equal(bad, file) {
			t.Errorf("whole: %v", r.Whole())
		}
	})
}
