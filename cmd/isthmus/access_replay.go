package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
)

func newAccessReplay(w *world) *cobra.Command {
	var (
		opt      recording.Options
		pause    = long(2 * time.Second)
		text     bool
		cast     bool
		identity string
	)
	c := &cobra.Command{
		Use: "replay SESSION", Short: "Replay the recording of a session in this terminal", Args: cobra.ExactArgs(1),
		Long: `Replay the recording of a session, as an auditor or owner. What could do more to your terminal than draw is left out. That you replayed it stands in the audit log. A
recording that was encrypted for keys of the policy's spec.recordingRecipients is opened with --identity.`,
		Example: `  isthmus access replay 4f6c1e0a9b2d4c7f8a1b2c3d4e5f6071 --speed 4
  isthmus access replay 4f6c1e0a9b2d4c7f8a1b2c3d4e5f6071 --text | less
  isthmus access replay 4f6c1e0a9b2d4c7f8a1b2c3d4e5f6071 --cast > session.cast`,
	}
	n := addConnection(w, c)
	f := c.Flags()
	f.Float64Var(&opt.Speed, "speed", 1, "how many `TIMES` as fast")
	addLong(c, &pause, "max-pause", "longer silences become this `LONG`")
	f.BoolVar(&opt.Raw, "no-wait", false, "everything at once, without the pauses")
	f.IntVar(&opt.Terminal, "terminal", 1, "`WHICH` of the session's terminals")
	f.BoolVar(&text, "text", false, "print what was shown as plain text")
	f.BoolVar(&cast, "cast", false, "print the asciicast itself, unchanged, for other programs")
	f.StringVar(&identity, "identity", "", "`FILE` with the private key (AGE-SECRET-KEY-1…), for a recording that only others can open")
	c.ValidArgsFunction = completeRecordings(n)
	c.RunE = func(c *cobra.Command, args []string) error {
		if text && cast {
			return usagef("--text and --cast are two forms").advise("leave one of them out")
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		private := ""
		if identity != "" {
			if private, err = w.secret("private key", identity); err != nil {
				return err
			}
		}
		done := s.wait()
		content, sealed, err := s.Recording(c.Context(), args[0])
		done()
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }() // it was only read
		in := io.Reader(content)
		if sealed {
			if private == "" {
				return fault.New("isthmus.replay", fault.Denied, "the recording is encrypted for keys that the control plane does not have").
					Advise("give the private key of one of the policy's spec.recordingRecipients: --identity FILE")
			}
			if in, err = recording.Open(content, private); err != nil {
				return err
			}
		}
		in = &brokenOff{in}
		switch {
		case cast && w.terminal:
			return usagef("a recording is not written to a terminal unchanged").advise("write it to a file: --cast > session.cast, or leave --cast out")
		case cast:
			_, err = io.Copy(w.out, in)
			return err
		case text:
			return recording.Text(w.out, in)
		}
		opt.MaxPause = time.Duration(pause)
		return recording.Replay(c.Context(), in, w.out, opt, w.clock)
	}
	return c
}

// brokenOff says in words that a download did not come to its end.
type brokenOff struct{ r io.Reader }

func (b *brokenOff) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && fault.KindOf(err) == fault.Internal {
		err = fault.New("isthmus.replay", fault.Unavailable, "the recording broke off on its way").Because(err).Advise("try again")
	}
	return n, err
}

// completeRecordings completes sessions that have one.
func completeRecordings(n *connection) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.Sessions(ctx, client.SessionFilter{})
			if err != nil {
				return nil
			}
			var out []string
			for _, x := range list {
				if x.Recording {
					out = append(out, x.ID+"\t"+harmless(x.Person+" "+x.Target))
				}
			}
			return out
		})
	}
}
