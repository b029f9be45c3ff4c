package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func newHubDevice(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "device", Aliases: []string{"devices"}, Short: "Create, list, show and delete devices, and renew their keys",
		Example: `  isthmus hub device create sensor-1
  isthmus hub device connection-string sensor-1`,
	}
	c.AddCommand(newDeviceCreate(w), newDeviceList(w), newDeviceShow(w), newDeviceDelete(w), newDeviceConnectionString(w), newDeviceRegenerate(w))
	return c
}

// deviceView is a device without its keys: they are printed only by the command that is asked for them.
type deviceView struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	StatusReason string `json:"statusReason,omitempty"`
	Connected    bool   `json:"connected"`
	StateChanged string `json:"connectionStateUpdatedTime"`
	LastActivity string `json:"lastActivityTime"`
	AuthType     string `json:"authenticationType"`
	Generation   string `json:"generationId"`
	ETag         string `json:"etag"`
}

func viewDevice(d hubclient.Device) deviceView {
	v := deviceView{d.ID, d.Status, d.StatusReason, d.ConnectionState == "Connected", d.StateChanged, d.LastActivity, "", d.GenerationID, d.ETag}
	if d.Authentication != nil {
		v.AuthType = d.Authentication.Type
	}
	return v
}

func newDeviceCreate(w *world) *cobra.Command {
	var disabled bool
	var out output
	c := &cobra.Command{
		Use: "create DEVICE...", Short: "Create devices; the hub makes their keys", Args: cobra.MinimumNArgs(1),
		Example: `  isthmus hub device create sensor-1
  isthmus hub device create sensor-2 sensor-3`,
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVar(&disabled, "disabled", false, "create them so that they may not connect yet")
	c.RunE = func(c *cobra.Command, args []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		var made []deviceView
		for _, id := range args {
			d := hubclient.Device{ID: id}
			if disabled {
				d.Status = "disabled"
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
			return out.write(w, struct {
				Items []deviceView `json:"items"`
			}{made})
		}
		w.note("its connection string: isthmus hub device connection-string %s", args[0])
		return nil
	}
	return c
}

func newDeviceList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list", Short: "List devices", Args: cobra.NoArgs, Example: "  isthmus hub device list",
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = func(c *cobra.Command, _ []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		const page = 1000
		list := []deviceView{}
		for after := ""; ; {
			part, err := hub.Devices(c.Context(), after, page)
			if err != nil {
				return err
			}
			for _, d := range part {
				list, after = append(list, viewDevice(d)), d.ID
			}
			if len(part) < page {
				break
			}
		}
		switch {
		case out.structured():
			return out.write(w, struct {
				Items []deviceView `json:"items"`
			}{list})
		case out.format == outName:
			for _, d := range list {
				w.printf("%s\n", harmless(d.ID))
			}
			return nil
		}
		var rows [][]cell
		for _, d := range list {
			r := cells(d.ID, d.Status, "no", w.hubTime(d.LastActivity))
			if d.Status != "enabled" {
				r[1].colour = red
			}
			if d.Connected {
				r[2] = cell{"yes", green}
			}
			rows = append(rows, r)
		}
		w.table([]string{"DEVICE", "STATUS", "CONNECTED", "LAST ACTIVITY"}, rows)
		return nil
	}
	return c
}

func newDeviceShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show DEVICE", Short: "Show a device, without its keys", Args: cobra.ExactArgs(1), Example: "  isthmus hub device show sensor-1",
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = func(c *cobra.Command, args []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		d, err := hub.Device(c.Context(), args[0])
		if err != nil {
			return err
		}
		v := viewDevice(d)
		if out.structured() {
			return out.write(w, v)
		}
		connected := "no, since " + w.hubTime(v.StateChanged)
		switch {
		case v.Connected:
			connected = "yes, since " + w.hubTime(v.StateChanged)
		case w.hubTime(v.StateChanged) == "never":
			connected = "never yet"
		}
		w.pairs([2]string{"Device", v.ID}, [2]string{"Status", v.Status}, [2]string{"Reason", v.StatusReason}, [2]string{"Connected", connected},
			[2]string{"Last activity", w.hubTime(v.LastActivity)}, [2]string{"Authentication", v.AuthType}, [2]string{"Generation", v.Generation}, [2]string{"ETag", v.ETag})
		return nil
	}
	return c
}

func newDeviceDelete(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "delete DEVICE...", Short: "Delete devices and end their connections; what they sent stays", Args: cobra.MinimumNArgs(1),
		Example: "  isthmus hub device delete sensor-1",
	}
	a := addHubAccess(w, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		for _, id := range args {
			if err := hub.Delete(c.Context(), id, hubclient.Any); err != nil {
				return err
			}
			w.printf("device %s deleted\n", harmless(id))
		}
		return nil
	}
	return c
}

func newDeviceConnectionString(w *world) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "connection-string DEVICE", Short: "Print what a device's SDK is configured with; it is a secret", Args: cobra.ExactArgs(1),
		Example: "  isthmus hub device connection-string sensor-1 > sensor-1.connection",
	}
	a := addHubAccess(w, c)
	addKeyChoice(c, &key)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		host, err := hub.HostName(c.Context())
		if err != nil {
			return err
		}
		d, err := hub.Device(c.Context(), args[0])
		if err != nil {
			return err
		}
		if d.Authentication == nil || d.Authentication.Keys == nil || d.Authentication.Keys.Primary == "" {
			return fault.Newf("isthmus.hub", fault.Invalid, "device %q does not use a shared access key", d.ID)
		}
		secret := d.Authentication.Keys.Primary
		if key == hubclient.Secondary {
			secret = d.Authentication.Keys.Secondary
		}
		w.printf("%s\n", sas.ConnectionString{HostName: host, DeviceID: d.ID, Key: secret})
		return nil
	}
	return c
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
