package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/cli.md")

const docsFile = "../../docs/cli.md"

const docsIntro = `# The command line

One binary, ` + "`isthmus`" + `, is the control plane, relay, agent and hub, and the command line that speaks to the control plane's API. This page is made from the
commands themselves (` + "`go test ./cmd/isthmus -run TestDocs -update`" + `); ` + "`isthmus COMMAND --help`" + ` shows the same.

**Output.** What was asked for goes to standard output; notes, progress and errors go to standard error. Tables are for people; ` + "`-o json`" + ` and ` + "`-o yaml`" + ` are for
programs and keep their field names. Colours are used at a terminal only, and not when ` + "`NO_COLOR`" + ` is set.

**Errors** are two lines: what happened, then ` + "`next:`" + ` and what to do.

**Exit codes.** 0: done. 1: it failed, or the server refused it. 2: the command was written wrongly; nothing was tried.

**Secrets** are read from files, standard input or the environment, never from the command line.

**Names** are TENANT/NETWORK/NAME (endpoints, services, agents), TENANT/ZONE/NAME (record sets), TENANT/NAME (networks, zones) or NAME (tenants, relays). The tenant
may be left out where ` + "`--tenant`" + ` or the token in use says it. Kinds may be written in singular, plural or short, in any case; ` + "`isthmus explain`" + ` lists them.

**Connection.** Commands that speak to a control plane use, in this order, these flags, the environment variables named with them, and the context that
` + "`isthmus login`" + ` made. A server given by flag or environment is never shown the token of a context.

`

func TestDocsAreCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsIntro)
	w := &world{getenv: func(string) string { return "" }}
	root := newRoot(w)
	connectionFlags := &strings.Builder{}
	section(connectionFlags, "Connection flags", flags(find(t, root, "get"), true))
	fmt.Fprintf(&b, "```\n%s```\n", strings.TrimPrefix(strings.TrimSpace(connectionFlags.String())+"\n", "Connection flags:\n"))
	for _, g := range root.Groups() {
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				document(&b, c)
			}
		}
	}
	got := b.String()
	if *update {
		if err := os.WriteFile(docsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("docs/cli.md is not what the commands say: go test ./cmd/isthmus -run TestDocs -update")
	}
}

func document(b *strings.Builder, c *cobra.Command) {
	if !c.IsAvailableCommand() {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	if c.Long != "" {
		fmt.Fprintf(b, "%s\n\n", c.Long)
	} else {
		fmt.Fprintf(b, "%s\n\n", sentence(c.Short))
	}
	if !holdsOnly(c) {
		fmt.Fprintf(b, "```\n%s\n", useLine(c))
		rows := slices.DeleteFunc(flags(c, false), func(r [2]string) bool { return strings.Contains(r[0], "--help") })
		section(b, "Flags", rows)
		if len(flags(c, true)) > 0 {
			b.WriteString("\n(and the connection flags)\n")
		}
		b.WriteString("```\n\n")
	}
	if c.Example != "" {
		fmt.Fprintf(b, "```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	for _, sub := range c.Commands() {
		document(b, sub)
	}
}

func find(t *testing.T, root *cobra.Command, name string) *cobra.Command {
	t.Helper()
	c, _, err := root.Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every command says what it is for, shows how it is used, and completes what it can.
func TestEveryCommandHasWordsAndExamples(t *testing.T) {
	w := &world{getenv: func(string) string { return "" }}
	root := newRoot(w)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, "isthmus") {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example line %q is not indented", c.CommandPath(), line)
			}
		}
		if c.RunE == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		if !strings.Contains(help(c), "show this help") {
			t.Errorf("%s: its help does not name --help", c.CommandPath())
		}
		for _, r := range append(flags(c, false), flags(c, true)...) {
			if strings.TrimSpace(r[1]) == "" {
				t.Errorf("%s: flag %s has no words", c.CommandPath(), r[0])
			}
		}
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				walk(sub)
			}
		}
	}
	walk(root)
}

// The examples of the help are command lines that parse.
func TestExamplesAreValid(t *testing.T) {
	w := &world{getenv: func(string) string { return "" }}
	var lines []string
	var collect func(*cobra.Command)
	collect = func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			for part := range strings.SplitSeq(line, " | ") {
				if part = strings.TrimSpace(part); strings.HasPrefix(part, "isthmus ") {
					lines = append(lines, part)
				}
			}
		}
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(newRoot(w))
	if len(lines) < 30 {
		t.Fatalf("%d examples", len(lines))
	}
	for _, line := range lines {
		if err := parses(w, line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// parses tells whether a command line could be meant.
func parses(w *world, line string) error {
	words := fields(line)[1:]
	c, rest, err := newRoot(w).Find(words)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil && c.Args != nil && !c.HasSubCommands() {
		err = c.Args(c, c.Flags().Args())
	}
	if err == nil && holdsOnly(c) && len(words) > 0 && c.Flags().NArg() > 0 {
		err = errors.New("it is no command")
	}
	return err
}

// The pages, too, show command lines that parse.
func TestCommandsOfThePagesAreValid(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{getenv: func(string) string { return "" }}
	n := 0
	for _, page := range append(pages, "../../README.md") {
		if page == docsFile {
			continue
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(strings.ReplaceAll(string(b), "\\\n", " "), "```") {
			if i%2 == 0 {
				continue
			}
			for line := range strings.Lines(block) {
				for part := range strings.SplitSeq(line, " | ") {
					part, _, _ = strings.Cut(strings.TrimSpace(part), " # ")
					part = strings.TrimSuffix(strings.TrimPrefix(part, "sudo "), " &")
					if !strings.HasPrefix(part, "isthmus ") || strings.ContainsAny(part, "…[") {
						continue
					}
					n++
					if err := parses(w, part); err != nil {
						t.Errorf("%s: %s: %v", filepath.Base(page), part, err)
					}
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("%d command lines", n)
	}
}

// fields splits a shell line at spaces outside quotes, up to a redirection.
func fields(line string) []string {
	var out []string
	var cur strings.Builder
	var quote rune
	for _, r := range line + " " {
		switch {
		case r == quote && quote != 0:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case (r == '<' || r == '>') && quote == 0:
			return out
		case r == ' ' && quote == 0:
			if cur.Len() > 0 {
				out = append(out, cur.String())
			}
			cur.Reset()
		default:
			cur.WriteRune(r)
		}
	}
	return out
}
