package main

import (
	"github.com/spf13/cobra"
)

func newDNS(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "dns",
		Short: "Explain names, bring zones along, answer names without a control plane",
		Example: `  isthmus dns why contoso.azure-devices.net --from ot/plant-7
  isthmus dns import db.corp --zone ot/corp.example
  isthmus dns serve --listen 127.0.0.1:5353 --zone-file corp.example=db.corp`,
	}
	c.AddCommand(newDNSWhy(w), newDNSImport(w), newDNSServe(w))
	return c
}
