package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// pages are read and done, as a reader would: files that a page shows under a comment with their name are written, and the lines of blocks
// under the comment "executed" that begin with $ are run, in their order. What stands below a command must be in what it prints, in that
// order; a line of … stands for any others. Ports and directories of this machine are exchanged for some of the test's own.
var pages = map[string]struct {
	ports  []string // as the page writes them
	before string   // what a reader has done before, and files that he has
}{
	"README.md": {ports: []string{"8883", "443", "5671"}},
	"docs/gateway.md": {
		ports:  []string{"8883", "443"},
		before: "exec isthmus login --server $SERVER --pin $PIN --token-file admin.token\nexec isthmus apply -f examples/existing-hub.yaml\n",
	},
	"docs/bridges.md":    {ports: []string{"8883"}},
	"docs/event-hubs.md": {ports: []string{"8883", "443", "5671", "5672"}},
	"docs/dns.md": {
		ports: []string{"5353"},
		before: "exec isthmus login --server $SERVER --pin $PIN --token-file admin.token\nexec isthmus apply -f examples/existing-hub.yaml\n" +
			"enrol ot/plant-7 agent-1\nresolves ot/plant-7 agent-1 10.7.0.2:53\n",
	},
}

func TestPages(t *testing.T) {
	for page, p := range pages {
		t.Run(strings.ReplaceAll(page, "/", "-"), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../..", page))
			if err != nil {
				t.Fatal(err)
			}
			replace := func(s string) string {
				for i, port := range p.ports {
					s = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllString(s, fmt.Sprintf("$${PORT%d}", i))
				}
				s = strings.NewReplacer("/etc/", "etc/", "10.20.0.", "127.20.0.", "targets: [contoso.azure-devices.net]", "targets: [127.0.0.1]").Replace(s)
				return s // nobody outside of this machine is asked or checked
			}
			script := asScript(t, replace(string(text)), len(p.ports), p.before)
			file := filepath.Join(t.TempDir(), "page.txt")
			if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, testscript.Params{
				Files: []string{file}, RequireExplicitExec: true, RequireUniqueNames: true,
				Setup: func(env *testscript.Env) error {
					if err := setup(env); err != nil {
						return err
					}
					return copyExamples(filepath.Join(env.WorkDir, "examples"), replace)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"enrol": enrol, "resolves": resolves, "free": free, "fill": fill, "until": until, "answers": answers, "shows": shows,
				},
			})
		})
	}
}

func copyExamples(dir string, replace func(string) string) error {
	if err := os.MkdirAll(filepath.Join(dir, "cross-tenant"), 0o700); err != nil {
		return err
	}
	all, err := filepath.Glob("../../examples/*.yaml")
	more, _ := filepath.Glob("../../examples/cross-tenant/*.yaml") // the pattern is right
	for _, file := range slices.Concat(all, more) {
		text, e := os.ReadFile(file)
		if e != nil {
			return e
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimPrefix(filepath.ToSlash(file), "../../examples/")), []byte(replace(string(text))), 0o600); err != nil {
			return err
		}
	}
	return err
}

// asScript makes a test script of a page.
func asScript(t *testing.T, page string, ports int, before string) string {
	t.Helper()
	var script, files, fills strings.Builder
	script.WriteString("free")
	for i := range ports {
		fmt.Fprintf(&script, " PORT%d", i)
	}
	marked, block, commands, expected := "", false, 0, 0
	for lines := bufio.NewScanner(strings.NewReader(page)); lines.Scan(); {
		line := lines.Text()
		comment, isComment := strings.CutPrefix(line, "<!-- ")
		switch {
		case strings.HasPrefix(line, "```"):
			if block = !block; !block {
				marked = ""
			} else if marked != "" && marked != "executed" {
				fmt.Fprintf(&files, "-- %s --\n", marked)
				fmt.Fprintf(&fills, " %s", marked)
			}
		case !block && isComment:
			if marked = strings.TrimSuffix(comment, " -->"); strings.Contains(marked, " ") {
				marked = "" // words for people
			}
		case !block || marked == "":
		case marked != "executed":
			files.WriteString(line + "\n")
		case strings.HasPrefix(line, "$ "):
			commands++
			script.WriteString(command(commands, strings.TrimPrefix(line, "$ ")))
		default:
			if expected != commands {
				expected = commands
				fmt.Fprintf(&files, "-- expected-%d --\n", commands)
				fmt.Fprintf(&fills, " expected-%d", commands)
			}
			files.WriteString(line + "\n")
		}
	}
	if commands < 2 {
		t.Fatalf("the page has %d commands", commands)
	}
	// Files follow the script, so what is expected has to be found among them by its number.
	head, rest, _ := strings.Cut(script.String(), "\n")
	filled := ""
	if fills.Len() > 0 {
		filled = "fill" + fills.String() + "\n"
	}
	filled += "fill examples/gateway.yaml examples/dns.yaml examples/existing-hub.yaml examples/own-hub.yaml\n"
	if ports == 0 {
		head = "" // a page that asks for none
	}
	return head + "\n" + filled + before + rest + files.String()
}

// command makes a line of a script of one of a page.
func command(n int, line string) string {
	var quoted []string
	for _, word := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		if strings.HasPrefix(word, `"`) {
			word = "'" + strings.Trim(word, `"`) + "'"
		}
		quoted = append(quoted, word)
	}
	words := strings.Join(quoted, " ")
	for _, own := range []string{"isthmus gateway join", "isthmus gateway run", "isthmus gateway status", "isthmus gateway refusals", "isthmus gateway drain"} {
		if strings.HasPrefix(words, own) { // root's data directory is the machine's
			words = strings.Replace(words, own, own+" --data-dir gw", 1)
		}
	}
	if strings.HasPrefix(words, "isthmus eventhub ") {
		words += " --data-dir hubdata"
	}
	switch {
	case strings.HasPrefix(words, "isthmus hub dev"):
		return fmt.Sprintf("\nexec %s --data-dir hubdata --mqtt 127.0.0.1:$PORT0 --https 127.0.0.1:$PORT1 --amqp 127.0.0.1:$PORT2 --event-hubs-plain 127.0.0.1:$PORT3 &run%d&\n"+
			"until isthmus eventhub list --data-dir hubdata\n", words, n)
	case strings.HasPrefix(words, "isthmus gateway run"):
		return fmt.Sprintf("\nexec %s &run%d&\nuntil isthmus gateway status --data-dir gw\n", words, n)
	case strings.HasPrefix(words, "isthmus dns serve"):
		at := regexp.MustCompile(`--listen (\S+)`).FindStringSubmatch(words)
		return fmt.Sprintf("\nexec %s &run%d&\nanswers %s\n", words, n, at[1])
	}
	return fmt.Sprintf("\nshows expected-%d %s\n", n, words)
}

// shows FILE COMMAND ARGS... runs a command until it succeeds and prints the lines of a file, if there is one, in their order: another
// process may be on its way.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: shows FILE COMMAND ARGS...")
	}
	var want []string
	if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil {
		want = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; {
		err := ts.Exec(args[1], args[2:]...)
		missing := ""
		if err == nil {
			if missing = lacks(ts.ReadFile("stdout"), want); missing == "" {
				return
			}
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("%v; not shown: %q in\n%s%s", err, missing, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// lacks returns the first line that is not there, white space at its ends and the width of gaps aside.
func lacks(text string, want []string) string {
	got := strings.Split(text, "\n")
	tidy := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, line := range want {
		if line = tidy(line); line == "" || line == "…" {
			continue
		}
		found := false
		for len(got) > 0 && !found {
			found, got = tidy(got[0]) == line, got[1:]
		}
		if !found {
			return line
		}
	}
	return ""
}
