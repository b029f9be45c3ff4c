package deploy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var variable = regexp.MustCompile(`ISTHMUS_AGENT_[A-Z_]+`)

// Every variable that the container's files name is one of a flag of the slim agent.
func TestContainerVariables(t *testing.T) {
	program, err := os.ReadFile("../cmd/isthmus-agent/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"container/README.md", "container/compose.yaml"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found := variable.FindAllString(string(b), -1)
		if len(found) == 0 {
			t.Errorf("%s names no variable", name)
		}
		for _, v := range found {
			flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(v, "ISTHMUS_AGENT_")), "_", "-")
			if !strings.Contains(string(program), `"`+flag+`"`) {
				t.Errorf("%s: %s is no flag of isthmus-agent (--%s)", name, v, flag)
			}
		}
	}
}

func TestContainerIsConfined(t *testing.T) {
	b, err := os.ReadFile("container/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Services map[string]struct {
			ReadOnly bool     `yaml:"read_only"`
			CapDrop  []string `yaml:"cap_drop"`
			Security []string `yaml:"security_opt"`
			Volumes  []string
			Build    struct{ Context, Dockerfile string }
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	s, ok := doc.Services["isthmus-agent"]
	if !ok || !s.ReadOnly || strings.Join(s.CapDrop, "") != "ALL" || len(s.Security) != 1 || len(s.Volumes) != 1 {
		t.Errorf("%+v", s)
	}
	docker, err := os.ReadFile("container/" + s.Build.Context + "/" + s.Build.Dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(docker)
	_, last, ok := strings.Cut(text, "\nFROM scratch\n")
	if !ok || !strings.Contains(last, "USER 65532:65532") || strings.Contains(last, "RUN ") {
		t.Error("the image has more than the agent, or runs it as root")
	}
	_, dir, _ := strings.Cut(s.Volumes[0], ":")
	if !strings.Contains(last, "VOLUME "+dir+"\n") {
		t.Errorf("the volume is at %s in one file, and elsewhere in the other", dir)
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if v := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module); v == nil || !strings.Contains(text, "golang:"+string(v[1])+" ") {
		t.Errorf("it is built with another Go than go.mod has: %s", v)
	}
}
