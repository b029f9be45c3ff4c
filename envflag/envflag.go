package envflag

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/isthmus-io/isthmus/fault"
)

// Name is the variable of a flag: with a prefix, in upper case, with underscores.
func Name(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Fill sets the flags that were not given on the command line from the environment. Flags that may be repeated take values separated by
// commas. Invalid for a value that its flag refuses.
func Fill(flags *pflag.FlagSet, prefix string, getenv func(string) string) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		name := Name(prefix, f.Name)
		value := getenv(name)
		if value == "" || f.Changed || first != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = fault.New("envflag.Fill", fault.Invalid, "the environment variable "+name+" has a value that --"+f.Name+" does not take").
				Advise("write it as --%s has it: %s", f.Name, f.Usage)
		}
	})
	return first
}
