package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/workload"
)

func newAgentToken(w *world) *cobra.Command {
	p := &process{w: w}
	var audience string
	var asJSON bool
	c := &cobra.Command{
		Use:   "token",
		Short: "Make a token by which a program on this machine proves whose workload it is",
		Long: `Make a token, good for an hour, by which a program of this machine proves itself as the workload Agent TENANT/NETWORK/NAME: to a hub, event hub or blob
store that has a RoleAssignment for it, in place of a key. Azure's SDKs take it as the token of a credential. It is signed with this agent's certificate, so
the control plane need not be there. Whoever may read --data-dir may make one.`,
		Example: `  isthmus agent token --host fabrikam-lake.servicebus.windows.net
  curl -H "Authorization: Bearer $(isthmus agent token --host fabrikam.blob.core.windows.net)" -H "x-ms-version: 2025-01-05" https://fabrikam.blob.core.windows.net/aggregates?restype=container\&comp=list`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if audience == "" {
				return usagef("no service is named").advise("say whom the token is for: --host NAME")
			}
			if !strings.Contains(audience, "://") {
				audience = workload.Audience(audience)
			}
			m, err := membership.Open(membership.Config{Dir: p.dataDir}, slog.New(slog.DiscardHandler), w.clock)
			if err != nil {
				return err
			}
			as := string(m.Credentials().ID())
			text, expires, err := workload.NewMinter(m.Credentials(), w.clock).Token(c.Context(), as, audience)
			if err != nil {
				return err
			}
			if !asJSON {
				w.printf("%s\n", text)
				return nil
			}
			b, err := json.Marshal(struct {
				Token    string    `json:"token"`
				Expires  time.Time `json:"expires"`
				Workload string    `json:"workload"`
			}{text, expires.UTC(), as})
			if err != nil {
				return err
			}
			w.printf("%s\n", b)
			return nil
		},
	}
	p.addDir(c, "agent")
	f := c.Flags()
	f.StringVar(&audience, "host", "", "`NAME` of the service it is for, or an audience such as https://storage.azure.com/")
	f.BoolVar(&asJSON, "json", false, "print one JSON object with its end")
	return c
}
