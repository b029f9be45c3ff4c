package examples

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed cross-tenant/*.yaml
var crossTenant embed.FS

// CrossTenant returns the manifests of the cross-tenant design as one text.
func CrossTenant() string {
	names, err := fs.Glob(crossTenant, "cross-tenant/*.yaml")
	if err != nil {
		panic("examples: " + err.Error()) // the pattern is right
	}
	var all []string
	for _, name := range names {
		text, err := crossTenant.ReadFile(name)
		if err != nil {
			panic("examples: " + err.Error()) // it was compiled in
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "---\n")
}
