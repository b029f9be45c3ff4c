package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// connectionFlag marks the flags every command that speaks to a control plane has.
const connectionFlag = "isthmus-connection"

// help renders a command's help: what it does, how it is written, examples, then commands and flags.
func help(c *cobra.Command) string {
	var b strings.Builder
	long := c.Long
	if long == "" {
		long = sentence(c.Short)
	}
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", long, useLine(c))
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "  (also: %s)\n", strings.Join(c.Aliases, ", "))
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	for _, g := range append(c.Groups(), &cobra.Group{Title: "Commands"}) {
		section(&b, g.Title, subcommands(c, g.ID))
	}
	section(&b, "Flags", flags(c, false))
	section(&b, "Connection flags", flags(c, true))
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nMore about one of them: %s COMMAND --help\n", c.CommandPath())
	}
	return b.String()
}

func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }

// runsItself marks a command that does something by itself although it holds others.
const runsItself = "isthmus-runs-itself"

func holdsOnly(c *cobra.Command) bool {
	return c.HasAvailableSubCommands() && c.Annotations[runsItself] == ""
}

func useLine(c *cobra.Command) string {
	if holdsOnly(c) {
		return c.CommandPath() + " COMMAND"
	}
	_, args, _ := strings.Cut(c.Use, " ")
	return strings.TrimSpace(c.CommandPath() + " " + args)
}

func section(b *strings.Builder, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	most := 0
	for _, r := range rows {
		most = max(most, len(r[0]))
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, r := range rows {
		fmt.Fprintf(b, "  %-*s  %s\n", most, r[0], r[1])
	}
}

func subcommands(c *cobra.Command, group string) [][2]string {
	var out [][2]string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.GroupID == group {
			out = append(out, [2]string{sub.Name(), sub.Short})
		}
	}
	return out
}

func flags(c *cobra.Command, connection bool) [][2]string {
	var out [][2]string
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, is := f.Annotations[connectionFlag]; is != connection || f.Hidden {
			return
		}
		value, words := pflag.UnquoteUsage(f)
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			name += " " + value
		}
		words += defaultWords(f)
		out = append(out, [2]string{name, words})
	})
	return out
}

// defaultWords tells a flag's default, where it says something. That of a data directory depends on the user.
func defaultWords(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "[]", "0", "0s":
		return ""
	}
	if f.Name == "data-dir" {
		role := filepath.Base(f.DefValue)
		return " (default /var/lib/isthmus/" + role + "; without root ~/.local/share/isthmus/" + role + ")"
	}
	return " (default " + f.DefValue + ")"
}
