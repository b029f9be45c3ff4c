package main

import (
	"net"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/storage"
)

// devStorageHost is where the blob service of a developer's machine is, unless somebody says otherwise.
const devStorageHost = "127.0.0.4"

func addDevStorage(c *cobra.Command, cfg *node.LocalHubConfig, on *bool) {
	f := c.Flags()
	f.BoolVar(on, "storage", false, "serve blobs too, and print the account's connection string")
	f.StringSliceVar(&cfg.StorageHosts, "storage-host", []string{devStorageHost}, "`NAMES` of the blob service")
	f.StringSliceVar(&cfg.Containers, "container", nil, "`CONTAINERS` the blob service has at least")
}

// devStorage leaves the blob service out unless it is asked for, and listens for it otherwise.
func devStorage(c *cobra.Command, cfg *node.LocalHubConfig, on bool) {
	changed := c.Flags().Changed
	switch {
	case !on && !changed("container") && !changed("storage-host"):
		cfg.StorageHosts = nil
	case changed("storage-host"):
	case loopback(c.Context(), devStorageHost):
		if !changed("https") {
			cfg.HTTPS = append(cfg.HTTPS, net.JoinHostPort(devStorageHost, "443"))
		}
	default:
		cfg.StorageHosts = []string{"storage.localhost"} // by the listener of the others
	}
}

// storage notes what an SDK is given.
func (v *devView) storage(s node.LocalServices, cfg node.LocalHubConfig) (err error) {
	if s.Storage == nil {
		return nil
	}
	port := ""
	if len(cfg.HTTPS) > 0 {
		_, port, _ = net.SplitHostPort(cfg.HTTPS[len(cfg.HTTPS)-1]) // which was listened on
	}
	v.Storage, err = s.Storage.ConnectionString(storage.Primary, port)
	return err
}
