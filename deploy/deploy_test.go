package deploy_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/manifest"
)

func terraformFiles(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("azure/*.tf")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	out := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = b
	}
	return out
}

func TestTerraformIsFormatted(t *testing.T) {
	for name, b := range terraformFiles(t) {
		if !bytes.Equal(hclwrite.Format(b), b) {
			t.Errorf("%s is not formatted as terraform fmt does it", name)
		}
	}
}

// Every reference leads to something, and every variable is used. (What the provider's schema says, only terraform validate can tell.)
func TestTerraformReferences(t *testing.T) {
	declared := map[string]bool{"path.module": true, "each.key": true, "each.value": true}
	used := map[string]string{}
	note := func(file string, e hcl.Expression) {
		for _, tr := range e.Variables() {
			parts := []string{tr.RootName()}
			for _, step := range tr[1:] {
				if a, ok := step.(hcl.TraverseAttr); ok {
					parts = append(parts, a.Name)
				}
			}
			used[strings.Join(parts[:min(2, len(parts))], ".")] = fmt.Sprintf("%s:%d", file, tr.SourceRange().Start.Line)
		}
	}
	var walk func(file string, body *hclsyntax.Body)
	walk = func(file string, body *hclsyntax.Body) {
		for _, a := range body.Attributes {
			if a.Name == "ignore_changes" || a.Name == "type" {
				continue // names of the block's own attributes, and of types
			}
			note(file, a.Expr)
		}
		for _, b := range body.Blocks {
			walk(file, b.Body)
		}
	}
	for name, b := range terraformFiles(t) {
		f, diags := hclsyntax.ParseConfig(b, name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		body := f.Body.(*hclsyntax.Body)
		for _, block := range body.Blocks {
			switch block.Type {
			case "variable":
				declared["var."+block.Labels[0]] = true
				if block.Body.Attributes["description"] == nil || block.Body.Attributes["type"] == nil {
					t.Errorf("%s: the variable %s has no description or no type", name, block.Labels[0])
				}
			case "resource":
				declared[strings.Join(block.Labels, ".")] = true
			case "locals":
				for a := range block.Body.Attributes {
					declared["local."+a] = true
				}
			}
		}
		walk(name, body)
	}
	for ref, at := range used {
		if root, _, _ := strings.Cut(ref, "."); root == "port" || root == "zone" {
			continue // of a for expression
		}
		if !declared[ref] {
			t.Errorf("%s: %s is not declared", at, ref)
		}
	}
	for name := range declared {
		if strings.HasPrefix(name, "var.") && used[name] == "" {
			t.Errorf("%s is declared and never used", name)
		}
	}
}

func cloudInit(t *testing.T, manifestText, token string) string {
	t.Helper()
	b, err := os.ReadFile("azure/cloud-init.yaml.tftpl")
	if err != nil {
		t.Fatal(err)
	}
	expr, diags := hclsyntax.ParseTemplate(b, "cloud-init", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	encode := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "s", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(base64.StdEncoding.EncodeToString([]byte(args[0].AsString()))), nil
		},
	})
	v, diags := expr.Value(&hcl.EvalContext{
		Variables: map[string]cty.Value{
			"manifest": cty.StringVal(manifestText), "join_token": cty.StringVal(token),
			"package_url": cty.StringVal("https://example.net/isthmus"), "package_sha256": cty.StringVal(strings.Repeat("0", 64)),
		},
		Functions: map[string]function.Function{"base64encode": encode},
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return v.AsString()
}

func TestCloudInit(t *testing.T) {
	front, err := os.ReadFile("azure/front.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, manifest, token string
		want, never           []string
	}{
		{"manifest", string(front), "", []string{"/etc/isthmus/gateway.yaml"}, []string{"/etc/isthmus/gateway.join", "/etc/systemd/system/isthmus-gateway-join.service"}},
		{"token", "", "tok", []string{"/etc/isthmus/gateway.join", "/etc/systemd/system/isthmus-gateway-join.service"}, []string{"/etc/isthmus/gateway.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := cloudInit(t, c.manifest, c.token)
			var doc struct {
				Files []struct{ Path, Permissions, Content, Encoding string } `yaml:"write_files"`
				Run   [][]string                                              `yaml:"runcmd"`
			}
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			var paths []string
			for _, f := range doc.Files {
				paths = append(paths, f.Path)
				if f.Path == "/etc/isthmus/gateway.join" && f.Permissions != "0600" {
					t.Error("others may read the join token")
				}
				if f.Encoding == "b64" {
					if _, err := base64.StdEncoding.DecodeString(f.Content); err != nil {
						t.Errorf("%s: %v", f.Path, err)
					}
				}
				if strings.HasSuffix(f.Path, ".service") {
					checkUnit(t, f.Path, f.Content)
				}
			}
			for _, p := range c.want {
				if !slices.Contains(paths, p) {
					t.Errorf("%s is missing: %v", p, paths)
				}
			}
			for _, p := range c.never {
				if slices.Contains(paths, p) {
					t.Errorf("%s does not belong here", p)
				}
			}
			if len(doc.Run) == 0 || !strings.HasPrefix(text, "#cloud-config\n") {
				t.Error("cloud-init would not run it")
			}
		})
	}
}

func TestFrontManifest(t *testing.T) {
	set, err := manifest.Load([]string{"azure/front.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range set.Objects() {
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
	}
	if n := len(set.Objects()); n != 2 {
		t.Fatalf("%d nouns", n)
	}
}

func TestSystemdUnits(t *testing.T) {
	names, err := filepath.Glob("systemd/*.service")
	if err != nil || len(names) == 0 {
		t.Fatalf("no units: %v", err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		checkUnit(t, n, string(b))
	}
}

var flag = regexp.MustCompile(`--[a-z-]+`)

// checkUnit sees to it that what a unit starts is a command with such flags.
func checkUnit(t *testing.T, name, text string) {
	t.Helper()
	cli, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "NoNewPrivileges=") || !strings.Contains(text, "ProtectSystem=strict") {
		t.Errorf("%s is not confined", name)
	}
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=")
		if !ok {
			continue
		}
		words := strings.Fields(command)
		title := "isthmus"
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "-") {
				break
			}
			title += " " + w
		}
		_, section, found := strings.Cut(string(cli), "# "+title+"\n")
		if !found {
			t.Errorf("%s starts %q, which docs/cli.md does not have", name, title)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, f := range flag.FindAllString(command, -1) {
			if !strings.Contains(section, f) {
				t.Errorf("%s: %s has no %s", name, title, f)
			}
		}
	}
}
