package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubDevice(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "device", Aliases: []string{"devices"}, Short: "Create, list, show, change and delete devices, and renew their keys",
		Example: `  isthmus hub device create sensor-1
  isthmus hub device connection-string sensor-1`,
	}
	c.AddCommand(newDeviceCreate(w), newDeviceList(w), newDeviceShow(w), newDeviceUpdate(w),
		newDeviceStatus(w, "enable", enabled, "Let devices connect", ""),
		newDeviceStatus(w, "disable", disabled, "Keep devices out", "Keep devices out: those that are connected are cut at once. Their twins, keys and messages stay."),
		newDeviceDelete(w), newDeviceConnectionString(w), newDeviceRegenerate(w))
	return c
}

// deviceView is a device without its keys: they are printed only by the command that is asked for them.
type deviceView struct {
	ID           string                 `json:"id"`
	Status       string                 `json:"status"`
	StatusReason string                 `json:"statusReason,omitempty"`
	Connected    bool                   `json:"connected"`
	StateChanged string                 `json:"connectionStateUpdatedTime"`
	LastActivity string                 `json:"lastActivityTime"`
	AuthType     string                 `json:"authenticationType"`
	Thumbprints  *hubclient.Thumbprints `json:"x509Thumbprint,omitempty"`
	Edge         bool                   `json:"iotEdge,omitempty"`
	Scope        string                 `json:"deviceScope,omitempty"`
	ParentScopes []string               `json:"parentScopes,omitempty"`
	Commands     int                    `json:"cloudToDeviceMessageCount,omitempty"`
	Generation   string                 `json:"generationId"`
	ETag         string                 `json:"etag"`
}

func viewDevice(d hubclient.Device) deviceView {
	v := deviceView{
		ID: d.ID, Status: d.Status, StatusReason: d.StatusReason, Connected: d.ConnectionState == "Connected", StateChanged: d.StateChanged, LastActivity: d.LastActivity,
		Edge: d.Capabilities != nil && d.Capabilities.IoTEdge, Scope: d.Scope, ParentScopes: d.ParentScopes, Commands: d.Commands, Generation: d.GenerationID, ETag: d.ETag,
	}
	if a := d.Authentication; a != nil {
		v.AuthType = a.Type
		if a.Thumbprints != nil && a.Thumbprints.Primary != "" {
			v.Thumbprints = a.Thumbprints
		}
	}
	return v
}

func newDeviceCreate(w *world) *cobra.Command {
	var off bool
	var out output
	c := &cobra.Command{
		Use: "create DEVICE...", Short: "Create devices; the hub makes their keys", Args: cobra.MinimumNArgs(1),
		Long: `Create devices. Without --auth they prove themselves by a key that the hub makes. With self-signed, the hub lets in whoever holds the certificate with the
thumbprint; with ca, whoever holds a certificate for the device's id from an authority of the hub ("isthmus hub authority").`,
		Example: `  isthmus hub device create sensor-1
  isthmus hub device create sensor-2 --certificate sensor-2.pem
  isthmus hub device create press-4 --edge
  isthmus hub device create sensor-3 sensor-4 --parent press-4 --status disabled`,
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	flags, how := addDeviceFlags(c), addProof(w, c)
	c.Flags().BoolVar(&off, "disabled", false, "the same as --status disabled")
	asks := access[*hubclient.Client]{a.open}
	completingFlag(c, "parent", completeDevices(asks, false))
	c.RunE = asks.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		proof, err := how.given()
		if err != nil {
			return err
		}
		if proof != nil && proof.Type == typeSelfSigned && len(args) > 1 {
			return usagef("%d devices cannot share a certificate", len(args)).advise("create them one by one, or with --auth ca")
		}
		var made []deviceView
		for _, id := range args {
			d := hubclient.Device{ID: id, Authentication: proof}
			if off {
				d.Status = disabled
			}
			if err := flags.apply(c.Context(), hub, &d); err != nil {
				return err
			}
			if d, err = hub.Create(c.Context(), d); err != nil {
				return err
			}
			made = append(made, viewDevice(d))
			if !out.structured() {
				w.printf("device %s created\n", harmless(id))
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(made))
		}
		w.note("its connection string: isthmus hub device connection-string %s", args[0])
		return nil
	})
	return c
}

func newDeviceList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list", Short: "List devices", Args: cobra.NoArgs, Example: "  isthmus hub device list",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		list := []deviceView{}
		if err := eachDevice(c.Context(), hub, func(d hubclient.Device) error {
			list = append(list, viewDevice(d))
			return nil
		}); err != nil {
			return err
		}
		switch {
		case out.structured():
			return out.write(w, itemsOf(list))
		case out.format == outName:
			for _, d := range list {
				w.printf("%s\n", harmless(d.ID))
			}
			return nil
		}
		var rows [][]cell
		for _, d := range list {
			r := cells(d.ID, d.Status, "no", w.hubTime(d.LastActivity))
			if d.Status != enabled {
				r[1].colour = red
			}
			if d.Connected {
				r[2] = cell{"yes", green}
			}
			rows = append(rows, r)
		}
		w.table([]string{"DEVICE", "STATUS", "CONNECTED", "LAST ACTIVITY"}, rows)
		return nil
	})
	return c
}

// eachDevice goes through a registry by id, a page at a time.
func eachDevice(ctx context.Context, hub *hubclient.Client, each func(hubclient.Device) error) error {
	const page = 1000
	for after := ""; ; {
		part, err := hub.Devices(ctx, after, page)
		if err != nil {
			return err
		}
		for _, d := range part {
			after = d.ID
			if err := each(d); err != nil {
				return err
			}
		}
		if len(part) < page {
			return nil
		}
	}
}

func newDeviceShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show DEVICE", Short: "Show a device, without its keys", Args: cobra.ExactArgs(1), Example: "  isthmus hub device show sensor-1",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = completeDevices(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		d, err := hub.Device(c.Context(), args[0])
		if err != nil {
			return err
		}
		v := viewDevice(d)
		if out.structured() {
			return out.write(w, v)
		}
		edge := ""
		if v.Edge {
			edge = "yes"
		}
		rows := [][2]string{
			{"Device", v.ID}, {"Status", v.Status}, {"Reason", v.StatusReason}, {"Connected", w.connectedWords(v.Connected, v.StateChanged)},
			{"Last activity", w.hubTime(v.LastActivity)}, {"Authentication", authWords(v.AuthType)},
		}
		if t := v.Thumbprints; t != nil {
			rows = append(rows, [2]string{"Thumbprint", t.Primary}, [2]string{"Second thumbprint", t.Secondary})
		}
		waiting := ""
		if v.Commands > 0 {
			waiting = count(v.Commands, "message")
		}
		w.pairs(append(rows, [2]string{"Edge", edge}, [2]string{"Scope", v.Scope}, [2]string{"Parent scopes", strings.Join(v.ParentScopes, ", ")},
			[2]string{"Waiting for it", waiting}, [2]string{"Generation", v.Generation}, [2]string{"ETag", v.ETag})...)
		return nil
	})
	return c
}

// connectedWords tells whether an identity is connected, and since when.
func (w *world) connectedWords(connected bool, changed string) string {
	switch {
	case connected:
		return "yes, since " + w.hubTime(changed)
	case w.hubTime(changed) == "never":
		return "never yet"
	}
	return "no, since " + w.hubTime(changed)
}

func newDeviceDelete(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "delete DEVICE...", Short: "Delete devices and end their connections; what they sent stays", Args: cobra.MinimumNArgs(1),
		Example: "  isthmus hub device delete sensor-1",
	}
	a := toHub(w, c)
	c.ValidArgsFunction = completeDevices(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, id := range args {
			if err := hub.Delete(c.Context(), id, hubclient.Any); err != nil {
				return err
			}
			w.printf("%s deleted\n", nameWords(id))
		}
		return nil
	})
	return c
}

func newDeviceConnectionString(w *world) *cobra.Command {
	return newIdentityString(w, "DEVICE", "Print what a device's SDK is configured with; it is a secret",
		`Print what a device's SDK is configured with. With a key it is a secret. A device with a certificate gets x509=true instead of a key: its SDK is given the
certificate and the certificate's key besides.`,
		"  isthmus hub device connection-string sensor-1 > sensor-1.connection", completeDevices)
}

func newIdentityString(w *world, what, short, long, example string, complete func(access[*hubclient.Client], bool) cobra.CompletionFunc) *cobra.Command {
	var key string
	c := &cobra.Command{Use: "connection-string " + what, Short: short, Long: long, Args: cobra.ExactArgs(1), Example: example}
	a := toHub(w, c)
	addKeyChoice(c, &key)
	c.ValidArgsFunction = complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			text, err := identityString(c.Context(), hub, args[0], key)
			if err != nil {
				return err
			}
			w.printf("%s\n", text)
			return nil
		})(c, args)
	}
	return c
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
