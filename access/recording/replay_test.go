package recording_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func filtered(t testing.TB, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	f := recording.NewFilter(&out)
	for _, p := range parts {
		if n, err := io.WriteString(f, p); n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	return out.String()
}

func TestOnlyWhatDrawsGetsThrough(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", "h\u00e9llo \u4e16\r\n\ttab\b", "h\u00e9llo \u4e16\r\n\ttab\b"},
		{"colours", "\x1b[1;38;5;208mx\x1b[38:2::1:2:3m\x1b[0m", "\x1b[1;38;5;208mx\x1b[38:2::1:2:3m\x1b[0m"},
		{"the cursor", "\x1b[2J\x1b[H\x1b[10;20H\x1b[3A\x1b7\x1b8\x1b[s\x1b[u\x1bM", "\x1b[2J\x1b[H\x1b[10;20H\x1b[3A\x1b7\x1b8\x1b[s\x1b[u\x1bM"},
		{"scrolling", "\x1b[2;10r\x1b[3S\x1b[2T\x1b[L", "\x1b[2;10r\x1b[3S\x1b[2T\x1b[L"},
		{"the alternate screen", "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l", "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l"},
		{"lines", "\x1b(0lqk\x1b(B\x0ex\x0f", "\x1b(0lqk\x1b(B\x0ex\x0f"},
		{"modes of which one draws", "\x1b[?25;1000;1006;2004h", "\x1b[?25h"},
		{"a control character within a sequence", "\x1b[1\n0m", "\n\x1b[10m"},

		{"a title", "a\x1b]0;rm -rf /\x07b", "ab"},
		{"a title ended otherwise", "a\x1b]2;x\x1b\\b", "ab"},
		{"the clipboard", "a\x1b]52;c;cm0gLXJmIC8K\x07b", "ab"},
		{"a hyperlink", "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"},
		{"C1 forms", "a\u009d0;title\u009cb\u009b31mc\u0090q\u009cd", "ab\x1b[31mcd"},
		{"C1 bytes", "a\x9d0;title\x9cb", "a\uFFFD0;title\uFFFDb"},
		{"DECRQSS", "a\x1bP$q\"p\x1b\\b", "ab"},
		{"APC, PM, SOS", "a\x1b_Gx\x1b\\b\x1b^x\x1b\\c\x1bXx\x1b\\d", "abcd"},
		{"a string that another sequence ends", "\x1b]0;x\x1b[1mb", "\x1b[1mb"},
		{"a string that is given up", "\x1bPx\x18b", "b"},
		{"attributes", "\x1b[c\x1b[>c\x1b[=c\x1b[0c\x1bZ", ""},
		{"reports", "\x1b[5n\x1b[6n\x1b[?6n\x1b[?25$p\x1b[x\x05", ""},
		{"the window", "\x1b[3;0;0t\x1b[21t\x1b[22;0t\x1b[8;1;1t", ""},
		{"keys", "\x1b[>4;2m\x1b[?1h\x1b=\x1b>\x1b[0\"p\x1b[1;59;\"x\"p", "\"p"},
		{"the mouse", "\x1b[?1003h\x1b[1;2;3;4;5T\x1b[?1004h", ""},
		{"printing", "\x1b[5i\x1b[?5i", ""},
		{"resets", "\x1bc\x1b[!p", ""},
		{"the bell, NUL, DEL", "a\a\x00\x7fb", "ab"},
		{"the keyboard", "\x1b[2h\x1b[20h\x1b[12l", ""},
		{"margins and other things with s and u", "\x1b[1;2s\x1b[?1u\x1b[=1u\x1b[1u\x1b[?25s\x1b[?25r", ""},
		{"milliards", "x\x1b[9999999999b\x1b[1000000000C\x1b[99999m", "x"},
		{"parameters without end", "a\x1b[" + strings.Repeat("1;", 40) + "mb", "ab"},
		{"a sequence within a sequence", "\x1b[1\x1b[2m", "\x1b[2m"},
		{"intermediates without end", "\x1b((0a\x1b[ !qb\x1b%Gc", "abc"},
		{"a string that never ends", "\x1b]" + strings.Repeat("x", 1<<17) + "seen", strings.Repeat("x", 1<<17-65537) + "seen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := filtered(t, c.in); got != c.want {
				t.Errorf("got %.200q, wanted %.200q", got, c.want)
			}
			if len(c.in) > 1000 {
				return
			}
			for i := range len(c.in) {
				if got := filtered(t, c.in[:i], c.in[i:]); got != c.want {
					t.Errorf("cut at %d: got %q", i, got)
				}
			}
		})
	}
}

func TestTheTerminalIsGivenBack(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", ""},
		{"\x1b[31m", "\x1b[0m"},
		{"\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"},
		{"\x1b[?1049h\x1b[?1049l\x1b[?25l\x1b[?25h", ""},
		{"\x1b[?47h\x1b[1;5r\x1b[?7l\x1b[?6h\x1b[4h\x1b(0", "\x1b[4l\x1b[?6l\x1b[?47l\x1b7\x1b[r\x1b8\x1b[?7h\x1b(B\x1b)B\x0f"},
		{"\x1b]0;half a title", ""},
		{"half a character \xe4\xb8", "\uFFFD\uFFFD"},
	} {
		var out bytes.Buffer
		f := recording.NewFilter(&out)
		_, _ = io.WriteString(f, c.in)
		out.Reset()
		must(t, f.Reset())
		if out.String() != c.want {
			t.Errorf("after %q: %q, wanted %q", c.in, out.String(), c.want)
		}
		out.Reset()
		_, _ = io.WriteString(f, "seen")
		must(t, f.Reset())
		if out.String() != "seen" {
			t.Errorf("after a reset: %q", out.String())
		}
	}
}

// harmless is all that may come out of a Filter.
var harmless = regexp.MustCompile("^(?:[^\\x00-\\x1f\\x7f\u0080-\u009f]|[\b\t\n\v\f\r\x0e\x0f]" +
	"|\x1b[78DEM]|\x1b[()][0AB]|\x1b\\[[0-9;:]*[A-M@PSTXZ`abdefmr]|\x1b\\[[su]|\x1b\\[4[hl]" +
	"|\x1b\\[\\?[0-9;:]*[JK]|\x1b\\[\\?(?:6|7|12|25|47|1047|1048|1049)[hl])*$")

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"hello\x1b[31m", "\x1b]0;x\x07", "\x1b]52;c;x\x1b\\", "\x1bP$q\x1b\\", "\x1b[?1000;25h", "\u009b6n", "\u009d", "\x1b[>c", "\x1b\x1b[c", "\xe4\xb8", "\x1b[1\x1b]x",
	} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, in string, cut int) {
		out := filtered(t, in)
		if !harmless.MatchString(out) {
			t.Errorf("%q became %q", in, out)
		}
		if again := filtered(t, out); again != out {
			t.Errorf("%q became %q and then %q", in, out, again)
		}
		if cut > 0 && cut < len(in) {
			if parts := filtered(t, in[:cut], in[cut:]); parts != out {
				t.Errorf("%q became %q, in two parts %q", in, out, parts)
			}
		}
		var reset bytes.Buffer
		filter := recording.NewFilter(&reset)
		_, _ = io.WriteString(filter, in)
		must(t, filter.Reset())
		if !harmless.Match(reset.Bytes()) {
			t.Errorf("%q with its end became %q", in, reset.String())
		}
	})
}

const cast = `{"version":2,"width":80,"height":24,"timestamp":1795348800}
[0.5, "o", "a"]
[1.5, "i", "secret"]
[1.5, "o2", "other"]

[2.5, "o", "b"]
[3.0, "m", "a marker\u001b[31m"]
[3.1, "new", "kind"]
[60, "o", "\u001b[31mc"]
`

func TestReplayKeepsTheTiming(t *testing.T) {
	for _, c := range []struct {
		opt  recording.Options
		want string
	}{
		{recording.Options{}, "500ms:a 2.5s:b 1m0s:\x1b[31mc 1m0s:\x1b[0m"},
		{recording.Options{Speed: 2}, "250ms:a 1.25s:b 30s:\x1b[31mc 30s:\x1b[0m"},
		{recording.Options{Speed: 0.5, MaxPause: 3 * time.Second}, "1s:a 4s:b 7s:\x1b[31mc 7s:\x1b[0m"},
		{recording.Options{Raw: true}, "0s:a 0s:b 0s:\x1b[31mc 0s:\x1b[0m"},
		{recording.Options{Terminal: 2}, "1.5s:other"},
		{recording.Options{Terminal: 3}, ""},
		{recording.Options{Raw: true, Markers: true}, "0s:a 0s:b 0s:\r\n[a marker[31m]\r\n 0s:\x1b[31mc 0s:\x1b[0m"},
	} {
		t.Run(fmt.Sprintf("%+v", c.opt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var got []string
				out := writerFunc(func(p []byte) (int, error) {
					got = append(got, fmt.Sprintf("%v:%s", time.Since(start), p))
					return len(p), nil
				})
				must(t, recording.Replay(t.Context(), strings.NewReader(cast), out, c.opt, clock.System{}))
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("got %q, wanted %q", s, c.want)
				}
			})
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestReplayStopsAndGivesTheTerminalBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	clk := clock.NewFake(noon)
	text := `{"version":2}` + "\n" + `[0, "o", "\u001b[?1049h"]` + "\n" + `[1e99, "o", "never"]` + "\n"
	var out bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := recording.Replay(ctx, strings.NewReader(text), &out, recording.Options{}, clk); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	for clk.Timers() == 0 {
	}
	cancel()
	wg.Wait()
	if out.String() != "\x1b[?1049h\x1b[?1049l" {
		t.Errorf("the terminal got %q", out.String())
	}
}

func TestWhatCannotBeReplayed(t *testing.T) {
	for _, c := range []struct {
		name, text string
		opt        recording.Options
		want       fault.Kind
	}{
		{"words", "hello", recording.Options{}, fault.Invalid},
		{"another version", `{"version":3}`, recording.Options{}, fault.Invalid},
		{"no event", `{"version":2}` + "\n" + `{"a":1}`, recording.Options{}, fault.Invalid},
		{"half an event", `{"version":2}` + "\n" + `[1, "o"]`, recording.Options{}, fault.Invalid},
		{"a line without end", `{"version":2}` + "\n" + `[1, "o", "` + strings.Repeat("x", 2<<20), recording.Options{}, fault.TooLarge},
		{"backwards", cast, recording.Options{Speed: -1}, fault.Invalid},
	} {
		if err := recording.Replay(t.Context(), strings.NewReader(c.text), io.Discard, c.opt, clock.System{}); fault.KindOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := recording.Replay(t.Context(), strings.NewReader(""), io.Discard, recording.Options{}, clock.System{}); err != nil {
		t.Errorf("nothing recorded before the writer was killed: %v", err)
	}
	full := writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe })
	if err := recording.Replay(t.Context(), strings.NewReader(cast), full, recording.Options{Raw: true}, clock.System{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a terminal that is gone: %v", err)
	}
}

func asText(t testing.TB, shown ...string) string {
	t.Helper()
	public, private := key(t)
	d := emptyDisk()
	w := write(t, d, public, clock.NewFake(noon))
	for _, s := range shown {
		must(t, w.Output([]byte(s)))
	}
	must(t, w.Close())
	text, _ := read(t, d.bytes(), private)
	var out bytes.Buffer
	must(t, recording.Text(&out, strings.NewReader(text)))
	return out.String()
}

func TestText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"lines", "$ ls\r\na  b\r\n$ ", "$ ls\na  b\n$\n"},
		{"colours and titles", "\x1b]0;x\x07\x1b[1;32malice\x1b[0m$ id\r\n", "alice$ id\n"},
		{"a correction", "$ lss\b\x1b[K -l\r\n", "$ ls -l\n"},
		{"an insertion", "$ cat b\b\x1b[1@a\r\n", "$ cat ab\n"},
		{"a deletion", "$ catt b\x1b[3D\x1b[P\r\n", "$ cat b\n"},
		{"progress", "10%\r20%\r\ndone\r\n", "10%\n20%\ndone\n"},
		{"what is hidden again", "secret\r\x1b[Kharmless\r\n", "secret\nharmless\n"},
		{"a full screen", "\x1b[2J\x1b[1;1Hone\x1b[2;1Htwo", "one\ntwo\n"},
		{"a tab", "a\tb\r\n", "a       b\n"},
		{"a line without end", strings.Repeat("x", 5000), strings.Repeat("x", 4096) + "\n" + strings.Repeat("x", 904) + "\n"},
		{"far right", "\x1b[9999Cx\r\n", strings.Repeat(" ", 4095) + "x\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := asText(t, c.in); got != c.want {
				t.Errorf("got %.200q, wanted %.200q", got, c.want)
			}
		})
	}
	var out bytes.Buffer
	must(t, recording.Text(&out, strings.NewReader(cast)))
	if want := "# a marker[31m\nabc\n2: other\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(cast)
	f.Add(`{"version":2}` + "\n" + `[null, "o", "x", 1, {}]`)
	f.Add(`{"version":2}` + "\n" + `[-1e308, "o65535", "\u009b1;1H"]`)
	f.Fuzz(func(t *testing.T, text string) {
		var out, plain bytes.Buffer
		_ = recording.Replay(t.Context(), strings.NewReader(text), &out, recording.Options{Raw: true, Markers: true}, clock.System{})
		if !harmless.Match(out.Bytes()) {
			t.Errorf("the terminal got %q", out.String())
		}
		_ = recording.Text(&plain, strings.NewReader(text))
		if s := plain.String(); strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) }) {
			t.Errorf("the text is %q", s)
		}
		events, err := recording.NewEvents(strings.NewReader(text))
		for last := time.Duration(0); err == nil; {
			var e recording.Event
			if e, err = events.Next(); err == nil && (e.At < last || e.Terminal < 1) {
				t.Errorf("%+v after %v", e, last)
			}
			last = e.At
		}
	})
}

func BenchmarkOutput(b *testing.B) {
	public, _ := key(b)
	d := &disk{room: math.MaxInt}
	w := write(b, d, public, clock.System{}, recording.WithMaxBytes(1<<60))
	line := []byte("drwxr-xr-x 2 root root     4096 Nov 22 12:00 \x1b[01;34mdirectory\x1b[0m\r\n")
	block := bytes.Repeat(line, 100)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Output(block); err != nil {
			b.Fatal(err)
		}
		d.mu.Lock()
		d.data.Reset()
		d.mu.Unlock()
	}
}

func BenchmarkFilter(b *testing.B) {
	f := recording.NewFilter(io.Discard)
	block := bytes.Repeat([]byte("drwxr-xr-x 2 root root     4096 Nov 22 12:00 \x1b[01;34mdirectory\x1b[0m\r\n"), 100)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
	}
}
