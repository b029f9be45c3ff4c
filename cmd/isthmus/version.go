package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

// versionText returns the build's version, or the commit it was built from.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}

func newVersion(w *world) *cobra.Command {
	var out output
	var only bool
	c := &cobra.Command{
		Use: "version", Short: "Show the version of this program and of the server", Args: cobra.NoArgs,
		Example: "  isthmus version\n  isthmus version --client",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVar(&only, "client", false, "do not ask the server")
	c.RunE = func(c *cobra.Command, _ []string) error {
		reply := struct {
			Version    string          `json:"version"`
			APIVersion string          `json:"apiVersion"`
			Go         string          `json:"go"`
			Platform   string          `json:"platform"`
			Server     *client.Version `json:"server,omitempty"`
		}{versionText(), resource.APIVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, nil}
		s, err := n.open()
		if err != nil || only { // whoever has not logged in has no server to ask
			return printVersion(w, out, reply, "isthmus", reply.Version, reply.Platform, reply.Server)
		}
		defer s.Close()
		defer s.wait()()
		v, err := s.Version(c.Context())
		if err == nil {
			reply.Server = &v
		}
		if perr := printVersion(w, out, reply, "isthmus", reply.Version, reply.Platform, reply.Server); perr != nil {
			return perr
		}
		return err
	}
	return c
}

func printVersion(w *world, out output, reply any, name, version, platform string, server *client.Version) error {
	if out.structured() {
		return out.write(w, reply)
	}
	w.printf("%s %s (%s)\n", name, version, platform)
	if server != nil {
		w.printf("server  %s (trust domain %s)\n", server.Version, server.TrustDomain)
	}
	return nil
}
