package parity

import (
	"fmt"
	"strings"
)

// Markdown is the report as a page.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString("# What becomes of an Azure hub\n\n| file | holds | things |\n|---|---|---|\n")
	for _, f := range r.Files {
		holds := strings.Join(f.Holds, ", ")
		if f.Error != "" {
			holds = "cannot be read: " + f.Error
		}
		fmt.Fprintf(&b, "| %s | %s | %d |\n", field(f.Name), field(holds), f.Things)
	}
	for _, v := range Verdicts() {
		list := r.Of(v)
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | | such as | next | see |\n|---|---|---|---|---|\n", v.Words())
		for _, f := range list {
			see := ""
			if f.Row != nil {
				see = f.Row.Section + ": " + f.Row.Begins
			}
			fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", f.Count, field(f.What), field(strings.Join(f.Examples, "; ")), field(f.Next), field(see))
		}
	}
	return b.String()
}

// field makes a text harmless within a table.
func field(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s)
}
