package main

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubMethod(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "method", Aliases: []string{"methods"}, Short: "Call methods of devices and modules",
		Example: "  isthmus hub method invoke sensor-1 reboot",
	}
	c.AddCommand(newMethodInvoke(w))
	return c
}

func newMethodInvoke(w *world) *cobra.Command {
	var (
		out     output
		m       hubclient.Method
		exit    bool
		payload *input
	)
	c := &cobra.Command{
		Use: "invoke DEVICE[/MODULE] METHOD [JSON]", Aliases: []string{"call"}, Short: "Call a method and print the answer", Args: cobra.RangeArgs(2, 3),
		Long: `Call a method of a device or a module that is connected and wait for its answer. Standard output has the answer's payload; the status, which is the device's own
word, goes beside it. The exit code is 0 when the device answered; with --exit-code it is 1 when the status is not from 200 to 299.`,
		Example: `  isthmus hub method invoke sensor-1 reboot
  isthmus hub method invoke press-4/camera capture '{"exposure": 8}' --timeout 1m
  isthmus hub method invoke sensor-1 update --file update.json --wait 5m --exit-code`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	payload = addInput(w, c, "the payload")
	f := c.Flags()
	f.DurationVar(&m.Response, "timeout", 30*time.Second, "how long the device may take, as a `DURATION` from 5s to 5m")
	f.DurationVar(&m.Connect, "wait", 0, "how long to wait for a device that is not connected, as a `DURATION` up to 5m")
	f.BoolVar(&exit, "exit-code", false, "exit with 1 when the status is not from 200 to 299")
	c.ValidArgsFunction = completeIdentities(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := payload.json(args[2:])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			m.Name, m.Payload = args[1], text
			defer w.waiting("the answer of " + nameWords(args[0]))()
			answer, err := hub.Invoke(c.Context(), args[0], m)
			switch {
			case err != nil && code.Of(err) == code.DeviceNotOnline:
				return fault.New("isthmus.method", fault.NotFound, fault.Message(err)).Because(err).Advise("wait for it with --wait 1m, or see: isthmus hub why %s", args[0])
			case err != nil:
				return err
			}
			if out.structured() {
				err = out.write(w, answer)
			} else {
				w.printAnswer(answer)
			}
			if err == nil && exit && (answer.Status < 200 || answer.Status > 299) {
				return fault.Newf("isthmus.method", fault.Precondition, "%s answered with status %d", nameWords(args[0]), answer.Status).
					Advise("what it means is for the device's program to say")
			}
			return err
		})(c, args)
	}
	return c
}

func (w *world) printAnswer(a hubclient.Answer) {
	w.note("status %d", a.Status)
	if len(a.Payload) == 0 || bytes.Equal(a.Payload, []byte("null")) {
		return
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, a.Payload, "", "  ") == nil {
		w.printf("%s\n", harmlessLines(pretty.String()))
	}
}
