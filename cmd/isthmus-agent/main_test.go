package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
)

func execute(args ...string) error {
	root := newRoot()
	root.SetArgs(args)
	return root.Execute()
}

func TestSettingsFromTheEnvironment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "from-the-environment")
	t.Setenv("ISTHMUS_AGENT_DATA_DIR", dir)
	if err := execute("run"); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	other := filepath.Join(t.TempDir(), "from-the-command-line")
	if err := execute("run", "--data-dir", other); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), other) {
		t.Errorf("both: %v", err)
	}
	t.Setenv("ISTHMUS_AGENT_ACCESS_RATE", "fast")
	if err := execute("run"); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "ISTHMUS_AGENT_ACCESS_RATE") {
		t.Errorf("a rate that is none: %v", err)
	}
}

func TestRunJoinsFirst(t *testing.T) {
	t.Setenv("ISTHMUS_AGENT_DATA_DIR", t.TempDir())
	t.Setenv("ISTHMUS_JOIN_TOKEN", "no token at all")
	if err := execute("run"); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "no token at all") {
		t.Errorf("a token that is none: %v", err)
	}
	os.Unsetenv("ISTHMUS_JOIN_TOKEN")
	file := filepath.Join(t.TempDir(), "missing")
	if err := execute("run", "--token-file", file); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a file that is not there: %v", err)
	}
}
