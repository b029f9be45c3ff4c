package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/isthmus-io/isthmus/manifest"
)

// newRoot builds the command tree. A command is added by one line in the list of its group.
func newRoot(w *world) *cobra.Command {
	root := &cobra.Command{
		Use:   "isthmus",
		Short: "A private path for devices to the services they need",
		Long: `Isthmus gives devices a private path to the services they need. Nothing listens on the public internet; every link dials out; both sides of
a link must say yes; every decision is recorded.

Commands that speak to a control plane use the context that "isthmus login" made.
Exit codes: 0 done, 1 failed, 2 used wrongly.`,
		Example: `  isthmus login --server relay.example.net:443 --pin 3f0a… --provider ot/corp
  isthmus apply -f plant-7/ --reason "new line 3"
  isthmus endpoint list`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddGroup(
		&cobra.Group{ID: groupResources, Title: "Resources"},
		&cobra.Group{ID: groupAccess, Title: "Access"},
		&cobra.Group{ID: groupProcesses, Title: "Processes"},
		&cobra.Group{ID: groupOther, Title: "Other"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupResources,
		newApply(w),
		newGet(w),
		newDescribe(w),
		newDelete(w),
		newEndpoint(w),
		newContract(w),
		newExplain(w),
		newDNS(w),
		newRender(w),
	)
	add(groupAccess,
		newLogin(w),
		newLogout(w),
		newContext(w),
		newToken(w),
		newWhoami(w),
		newPerson(w),
		newAudit(w),
		newAccess(w),
		newSSH(w),
		newConnect(w),
		newSocks(w),
	)
	add(groupProcesses,
		newServer(w),
		newRelay(w),
		newAgent(w),
		newGateway(w),
		newBridge(w),
		with(newHub(w), newAgentJoin(w, "hub"), newHubServe(w), newHubDev(w)),
		newDPS(w),
		newEventHub(w),
		newStorage(w),
		newVirtualDevices(w),
		newSimulate(w),
		newDemo(w),
	)
	add(groupOther,
		newVersion(w),
		newCompletion(w),
	)
	finish(w, root)
	return root
}

// with adds commands to a group that another file began.
func with(c *cobra.Command, more ...*cobra.Command) *cobra.Command {
	c.AddCommand(more...)
	return c
}

const (
	groupResources = "resources"
	groupAccess    = "access"
	groupProcesses = "processes"
	groupOther     = "other"
)

// finish gives every command the same furniture: usage errors that exit with 2, help in one layout, and groups that know their
// commands.
func finish(w *world, root *cobra.Command) {
	root.SetIn(w.in)
	root.SetOut(w.out)
	root.SetErr(w.err)
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"}) // --help is enough
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { w.printf("%s", help(c)) })
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.DisableFlagsInUseLine = true
		if f := c.Flags().Lookup("help"); f != nil {
			f.Usage = "show this help"
		}
		if args := c.Args; args != nil {
			c.Args = func(c *cobra.Command, a []string) error { return usage(c, a, args(c, a)) }
		}
		if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
			c.Args, c.RunE = cobra.ArbitraryArgs, group
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// flagError puts the nearest flag beside one that does not exist.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usagef("%s", err)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := manifest.Nearest(unknown.GetSpecifiedName(), names); near != "" && unknown.GetSpecifiedShortnames() == "" {
		return usagef("%s", err).advise("did you mean --%s? See: %s --help", near, c.CommandPath())
	}
	return usagef("%s", err)
}

// group is what a command that only holds others does by itself.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	e := usagef("%q is no command of %s", args[0], c.CommandPath())
	if near := manifest.Nearest(args[0], names); near != "" {
		return e.advise("did you mean %q? All commands: %s --help", near, c.CommandPath())
	}
	return e.advise("commands are %s", strings.Join(names, ", "))
}

// usage marks an error about arguments as the user's: exit code 2 and a hint at the help.
func usage(c *cobra.Command, args []string, err error) error {
	if err == nil {
		return nil
	}
	var u *usageError
	if errors.As(err, &u) {
		return err
	}
	// Of the library's errors those about the number of arguments are not for people.
	_, takes, _ := strings.Cut(c.Use, " ")
	switch text := err.Error(); {
	case !c.HasSubCommands() && strings.HasPrefix(text, "unknown command"):
		err = fmt.Errorf("%q is too much: %s takes no such argument", args[0], c.CommandPath())
	case strings.Contains(text, "arg(s)") && len(args) == 0:
		err = fmt.Errorf("something is missing after %s", c.CommandPath())
	case strings.Contains(text, "arg(s)"):
		err = fmt.Errorf("%s takes fewer or more than %s", c.CommandPath(), count(len(args), "argument"))
	}
	return usagef("%s", err).advise("write: %s; see: %s --help", strings.TrimSpace(c.CommandPath()+" "+takes), c.CommandPath())
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, w *world, args []string) int {
	root := newRoot(w) //nolint:contextcheck // cobra hands the context to the command
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	return w.fail(c, err)
}
