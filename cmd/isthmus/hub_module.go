package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubModule(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "module", Aliases: []string{"modules"}, Short: "Create, list, show and delete modules of devices, and renew their keys",
		Long: `A module is a part of a device with a key, a connection and a twin of its own. It is named DEVICE/MODULE. Twins, methods and messages of modules are with
"isthmus hub twin", "method" and "c2d", under the same names.`,
		Example: `  isthmus hub module create press-4/camera
  isthmus hub module list press-4`,
	}
	c.AddCommand(newModuleCreate(w), newModuleList(w), newModuleShow(w), newModuleDelete(w),
		newIdentityString(w, "DEVICE/MODULE", "Print what a module's SDK is configured with; it is a secret", "",
			"  isthmus hub module connection-string press-4/camera > camera.connection", completeModules),
		newModuleRegenerate(w))
	return c
}

// moduleView is a module without its keys.
type moduleView struct {
	DeviceID     string                 `json:"deviceId"`
	ModuleID     string                 `json:"moduleId"`
	ManagedBy    string                 `json:"managedBy,omitempty"`
	Connected    bool                   `json:"connected"`
	StateChanged string                 `json:"connectionStateUpdatedTime"`
	LastActivity string                 `json:"lastActivityTime"`
	AuthType     string                 `json:"authenticationType"`
	Thumbprints  *hubclient.Thumbprints `json:"x509Thumbprint,omitempty"`
	Generation   string                 `json:"generationId"`
	ETag         string                 `json:"etag"`
}

func viewModule(m hubclient.Device) moduleView {
	d := viewDevice(m)
	return moduleView{m.ID, m.ModuleID, m.ManagedBy, d.Connected, d.StateChanged, d.LastActivity, d.AuthType, d.Thumbprints, d.Generation, d.ETag}
}

func newModuleCreate(w *world) *cobra.Command {
	var managedBy string
	var out output
	c := &cobra.Command{
		Use: "create DEVICE/MODULE...", Short: "Create modules; the hub makes their keys", Args: cobra.MinimumNArgs(1),
		Example: `  isthmus hub module create press-4/camera
  isthmus hub module create press-4/camera --certificate camera.pem`,
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	how := addProof(w, c)
	c.Flags().StringVar(&managedBy, "managed-by", "", "`WHO` looks after it, such as IotEdge")
	c.ValidArgsFunction = completeModules(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		proof, err := how.given()
		if err != nil {
			return err
		}
		var made []moduleView
		for _, name := range args {
			if err := moduleName(name); err != nil {
				return err
			}
		}
		for _, name := range args {
			m := named(name)
			m.ManagedBy, m.Authentication = managedBy, proof
			if m, err = hub.Create(c.Context(), m); err != nil {
				return err
			}
			made = append(made, viewModule(m))
			if !out.structured() {
				w.printf("%s created\n", nameWords(name))
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(made))
		}
		w.note("its connection string: isthmus hub module connection-string %s", args[0])
		return nil
	})
	return c
}

func newModuleList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list DEVICE", Short: "List the modules of a device", Args: cobra.ExactArgs(1), Example: "  isthmus hub module list press-4",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.ValidArgsFunction = completeDevices(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		list, err := hub.Modules(c.Context(), args[0])
		if err != nil {
			return err
		}
		views := []moduleView{}
		var rows [][]cell
		for _, m := range list {
			v := viewModule(m)
			views = append(views, v)
			if out.format == outName {
				w.printf("%s\n", harmless(m.Name()))
			}
			r := cells(m.Name(), authWords(v.AuthType), v.ManagedBy, "no", w.hubTime(v.LastActivity))
			if v.Connected {
				r[3] = cell{"yes", green}
			}
			rows = append(rows, r)
		}
		switch {
		case out.structured():
			return out.write(w, itemsOf(views))
		case out.format == outTable:
			w.table([]string{"MODULE", "AUTHENTICATION", "MANAGED BY", "CONNECTED", "LAST ACTIVITY"}, rows)
		}
		return nil
	})
	return c
}

func newModuleShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show DEVICE/MODULE", Short: "Show a module, without its keys", Args: cobra.ExactArgs(1), Example: "  isthmus hub module show press-4/camera",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = completeModules(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		if err := moduleName(args[0]); err != nil {
			return err
		}
		m, err := hub.Device(c.Context(), args[0])
		if err != nil {
			return err
		}
		v := viewModule(m)
		if out.structured() {
			return out.write(w, v)
		}
		w.pairs([2]string{"Module", m.Name()}, [2]string{"Managed by", v.ManagedBy}, [2]string{"Connected", w.connectedWords(v.Connected, v.StateChanged)},
			[2]string{"Last activity", w.hubTime(v.LastActivity)}, [2]string{"Authentication", authWords(v.AuthType)}, [2]string{"Generation", v.Generation}, [2]string{"ETag", v.ETag})
		return nil
	})
	return c
}

func newModuleDelete(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "delete DEVICE/MODULE...", Short: "Delete modules and end their connections; what they sent stays", Args: cobra.MinimumNArgs(1),
		Example: "  isthmus hub module delete press-4/camera",
	}
	a := toHub(w, c)
	c.ValidArgsFunction = completeModules(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, name := range args { // before anything is gone: a device's name here would take the device
			if err := moduleName(name); err != nil {
				return err
			}
		}
		for _, name := range args {
			if err := hub.Delete(c.Context(), name, hubclient.Any); err != nil {
				return err
			}
			w.printf("%s deleted\n", nameWords(name))
		}
		return nil
	})
	return c
}
