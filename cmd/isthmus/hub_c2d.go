package main

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubC2D(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "c2d", Aliases: []string{"command", "commands", "messages"}, Short: "Send messages to devices and modules, and learn what became of them",
		Long: `A cloud-to-device message waits in the queue of its device until the device has completed or rejected it, or it expires. How the hub treats such messages is with
"isthmus hub c2d settings".`,
		Example: `  isthmus hub c2d send sensor-1 "restart at midnight" --ack full
  isthmus hub c2d feedback --follow`,
	}
	c.AddCommand(newC2DSend(w), newC2DPurge(w), newC2DFeedback(w), newC2DSettings(w))
	return c
}

func newC2DSend(w *world) *cobra.Command {
	var (
		out        output
		m          hubclient.Command
		properties []string
		expires    time.Duration
		at         string
	)
	c := &cobra.Command{
		Use: "send DEVICE[/MODULE] [TEXT]", Short: "Put a message into the queue of a device or a module", Args: cobra.RangeArgs(1, 2),
		Long: `Put a message into the queue of a device or a module; it is on the disk of the hub when the command ends. The body is the text, a file as it is, or standard input. A
queue holds 50 messages.`,
		Example: `  isthmus hub c2d send sensor-1 "restart at midnight" --property line=3 --expires 1h
  isthmus hub c2d send press-4/camera --file recipe.bin --content-type application/octet-stream --ack full`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	body := addInput(w, c, "the body")
	f := c.Flags()
	f.StringArrayVarP(&properties, "property", "p", nil, "`NAME=VALUE` beside the body; may be given several times")
	f.StringVar(&m.Ack, "ack", "", "which `FEEDBACK` to ask for: none, positive (it was completed), negative (it was not), full (both)")
	f.DurationVar(&expires, "expires", 0, "`DURATION` from now after which it is given up, up to 48h; when absent as the hub's settings say")
	f.StringVar(&at, "expires-at", "", "`TIME` at which it is given up, as 2027-01-31T06:00:00Z")
	f.StringVar(&m.MessageID, "message-id", "", "`ID` of the message, by which feedback names it; made when absent")
	f.StringVar(&m.CorrelationID, "correlation-id", "", "`ID` of what it belongs to")
	f.StringVar(&m.UserID, "user-id", "", "`ID` of whom it comes from")
	f.StringVar(&m.ContentType, "content-type", "", "`TYPE` of the body, such as application/json")
	f.StringVar(&m.ContentEncoding, "content-encoding", "", "`ENCODING` of the body, such as utf-8")
	completingValues(c, "ack", "none", "positive", "negative", "full")
	c.ValidArgsFunction = completeIdentities(a, false)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if m.Body, err = body.text(args[1:]); err != nil {
			return err
		}
		if m.Body == nil {
			return usagef("the body is missing").advise(`write it behind the device, or give --file FILE; "" for an empty one`)
		}
		if m.Properties, err = assignments("property", properties); err != nil {
			return err
		}
		if m.Expires, err = w.moment("expires", expires, at); err != nil {
			return err
		}
		if m.MessageID == "" {
			id := make([]byte, 12)
			_, _ = rand.Read(id) // never fails
			m.MessageID = hex.EncodeToString(id)
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			sent, err := hub.SendCommand(c.Context(), args[0], m)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, sent)
			}
			w.printf("message %s for %s; expires %s\n", harmless(sent.MessageID), nameWords(args[0]), w.at(sent.Expires))
			if m.Ack != "" && m.Ack != "none" {
				w.note("what becomes of it: isthmus hub c2d feedback --follow")
			}
			return nil
		})(c, args)
	}
	return c
}

// moment is a time given by one of two flags, NAME from now or NAME-at; zero for none.
func (w *world) moment(flag string, from time.Duration, at string) (time.Time, error) {
	switch {
	case from != 0 && at != "":
		return time.Time{}, usagef("--%s and --%s-at say the same", flag, flag).advise("give one of them")
	case from < 0:
		return time.Time{}, usagef("--%s %s is in the past", flag, from)
	case from > 0:
		return w.clock.Now().Add(from), nil
	case at == "":
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return t, usagef("--%s-at %q is no time", flag, at).advise("write it as 2027-01-31T06:00:00Z")
	}
	return t, nil
}

func newC2DPurge(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "purge DEVICE[/MODULE]...", Short: "Empty queues of messages, also of what is being delivered", Args: cobra.MinimumNArgs(1),
		Example: "  isthmus hub c2d purge sensor-1",
	}
	a := toHub(w, c)
	c.ValidArgsFunction = completeIdentities(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, name := range args {
			n, err := hub.PurgeCommands(c.Context(), name)
			if err != nil {
				return err
			}
			w.printf("%s for %s purged\n", count(n, "message"), nameWords(name))
		}
		return nil
	})
	return c
}
