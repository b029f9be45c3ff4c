package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	_ "time/tzdata" // working hours name time zones, which small machines may not have

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/envflag"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/node/agentnode"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "isthmus-agent:", words(err))
		if next := fault.Next(err); next != "" {
			fmt.Fprintln(os.Stderr, "next:", next)
		}
		os.Exit(1)
	}
}

func words(err error) string {
	if fault.KindOf(err) == fault.Internal {
		return err.Error()
	}
	return fault.Message(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "isthmus-agent", Short: "Join a network of Isthmus and follow its plan", Version: version,
		SilenceErrors: true, SilenceUsage: true,
		Long: "Join a network of Isthmus and follow its plan. Every flag may be given by the environment instead: --access-rate as\nISTHMUS_AGENT_ACCESS_RATE, a list with commas.",
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			return envflag.Fill(c.Flags(), "ISTHMUS_AGENT_", os.Getenv)
		},
		Example: "  isthmus-agent join < join.token\n  isthmus-agent run --interface eth0 --dns 192.168.1.2:53",
	}
	var cfg agentnode.Config
	cfg.Version = version
	f := root.PersistentFlags()
	f.StringVar(&cfg.DataDir, "data-dir", filepath.Join("/var/lib/isthmus", "agent"), "`DIR` of this agent alone; holds its key, mode 0700")
	f.StringSliceVar(&cfg.Servers, "server", nil, "`HOST:PORT` of the control plane instead of the addresses in the token")
	f.StringVar(&cfg.Proxy, "proxy", "", "`URL` of an HTTP proxy; HTTPS_PROXY when absent (the place for one with a password), none for none")
	f.StringVar(&cfg.Direct, "direct", "", "`HOST:PORT` at which other agents reach this one without a relay")
	var name, tokenFile string
	var rate agentnode.Rate
	f.StringVar(&name, "name", "", "`NAME` to join under; chosen when absent")
	f.StringVar(&tokenFile, "token-file", "", "`FILE` with the join token, - for standard input (or the token itself in ISTHMUS_JOIN_TOKEN)")
	join := &cobra.Command{
		Use: "join", Short: "Trade a join token for an identity", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if tokenFile == "" {
				tokenFile = "-"
			}
			token, err := readToken(tokenFile)
			if err != nil {
				return err
			}
			return agentnode.Join(c.Context(), cfg, token, name, clock.System{})
		},
	}
	run := &cobra.Command{
		Use: "run", Short: "Run the agent, which joins first when it has not and has a token", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			cfg.Agent.Access.BytesPerSecond = int64(rate)
			if err := agentnode.JoinOnce(c.Context(), cfg, func() (string, error) { return readToken(tokenFile) }, name, clock.System{}); err != nil {
				return err
			}
			return agentnode.Run(c.Context(), cfg, log, clock.System{}, prometheus.NewRegistry())
		},
	}
	run.Flags().StringVar(&cfg.Agent.Interface, "interface", "", "`NAME` of the interface that gets the addresses of private endpoints; absent: they are there already")
	run.Flags().StringSliceVar(&cfg.Agent.DNSListen, "dns", nil, "`HOST:PORT` to answer DNS on, UDP and TCP")
	run.Flags().StringVar(&cfg.Agent.DirectListen, "direct-listen", "", "`HOST:PORT` for tunnels that come without a relay; none when absent")
	run.Flags().StringSliceVar(&cfg.Agent.Access.Allow, "access-allow", nil, "what targets of people may be: `PATTERN` such as 127.0.0.1:22 or 192.168.10.0/24; everything the plan says when absent")
	run.Flags().BoolVar(&cfg.Agent.Access.Off, "no-access", false, "let nobody in, whatever the plan says")
	run.Flags().Var(&rate, "access-rate", "bytes per second of all people's sessions together, as a `RATE` such as 500k or 2MB; no limit when absent")
	virtual := &cobra.Command{
		Use: "virtual-devices", Short: "Play devices of a hub whose streams lead to addresses; the environment says which, as for isthmus virtual-devices", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			url := cfg.Proxy
			if url == agent.NoProxy {
				url = ""
			}
			dial, err := transport.DialProxy(url, cfg.Proxy == "")
			if err != nil {
				return err
			}
			return virtualdevice.Run(c.Context(), virtualdevice.Config{Dial: dial}, os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil)), clock.System{})
		},
	}
	root.AddCommand(join, run, virtual)
	return root
}

// readToken returns the token of the environment or of a file; empty when neither was given.
func readToken(file string) (string, error) {
	if t := os.Getenv("ISTHMUS_JOIN_TOKEN"); t != "" {
		return t, nil
	}
	if file == "" {
		return "", nil
	}
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(os.Stdin, 16<<10))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fault.Wrap("isthmus-agent.join", fault.Invalid, err, "the join token cannot be read: "+err.Error())
	}
	return strings.TrimSpace(string(b)), nil
}
