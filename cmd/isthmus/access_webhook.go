package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/client"
)

func newAccessWebhook(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "webhook", Aliases: []string{"webhooks"}, Short: "Tell a chat tool or a program of requests, decisions and sessions",
		Long: `Have events sent to an address as signed JSON, so that a chat tool can ask those who approve. Deliveries that fail are tried again for a day. For owners of the tenant.
The signature is in the header Isthmus-Signature; the package access/webhook verifies it.`,
		Example: `  isthmus access webhook create https://chat.example.net/hooks/isthmus --event request,break-glass --out webhook.secret
  isthmus access webhook test h7k2mq5rv3xa`,
	}
	c.AddCommand(newWebhookCreate(w), newWebhookList(w), newWebhookDelete(w), newWebhookTest(w))
	return c
}

func newWebhookCreate(w *world) *cobra.Command {
	var (
		req  client.WebhookRequest
		out  output
		file string
		from string
	)
	c := &cobra.Command{
		Use: "create URL", Short: "Have events sent to an address", Args: cobra.MaximumNArgs(1),
		Long: `Have events sent to an address. The secret that signs them is shown this once. An address that is a secret itself, as those of some chat tools are, is better read from a
file or standard input with --url-file: command lines are seen by others.`,
		Example: `  isthmus access webhook create https://hooks.example.net/isthmus --out webhook.secret
  isthmus access webhook create --url-file slack.url --event request,approve,deny,break-glass`,
	}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	f := c.Flags()
	f.StringVarP(&req.Tenant, "tenant", "t", "", "the `TENANT`; your own when absent")
	f.StringSliceVar(&req.Events, "event", nil, "`EVENT` to tell of: "+strings.Join(webhook.Names(), ", ")+"; all when absent")
	f.StringVar(&from, "url-file", "", "`FILE` with the address, - for standard input")
	f.StringVar(&file, "out", "", "write the secret to a new `FILE` only this user may read, instead of showing it")
	completingValues(c, "event", webhook.Names()...)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		switch {
		case len(args) == 1 && from == "":
			req.URL = args[0]
		case len(args) == 0 && from != "":
			url, err := w.secret("address", from)
			if err != nil {
				return err
			}
			req.URL = url
		default:
			return usagef("the address is missing, or there are two").advise("write isthmus access webhook create URL, or --url-file FILE")
		}
		req.Tenant = first(req.Tenant, s.tenant)
		kept, err := createSecret(file)
		if err != nil {
			return err
		}
		defer kept.close()
		secret, h, err := s.CreateWebhook(c.Context(), req)
		if err != nil {
			return err
		}
		switch {
		case file != "":
			if err := kept.write(secret); err != nil {
				return err
			}
			w.printf("webhook %s to %s made; its secret is in %s\n", h.ID, harmless(h.URL), file)
		case out.structured():
			return out.write(w, struct {
				Secret  string         `json:"secret"`
				Webhook client.Webhook `json:"webhook"`
			}{secret, h})
		default:
			w.printf("%s\n", secret)
			w.note("this is the secret of webhook %s; it is not shown again. Try it: isthmus access webhook test %s", h.ID, h.ID)
		}
		return nil
	})
	return c
}

func newWebhookList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "list", Short: "List webhooks, and what became of their last delivery", Args: cobra.NoArgs, Example: "  isthmus access webhook list"}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.Webhooks(c.Context())
		if err != nil {
			return err
		}
		switch {
		case out.structured():
			if list == nil {
				list = []client.Webhook{}
			}
			return out.write(w, struct {
				Items []client.Webhook `json:"items"`
			}{list})
		case out.format == outName:
			for _, h := range list {
				w.printf("%s\n", h.ID)
			}
			return nil
		case len(list) == 0:
			w.note("no webhooks")
			return nil
		}
		var rows [][]cell
		for _, h := range list {
			r := cells(h.ID, h.Tenant, h.URL, strings.Join(h.Events, " "), itoa(h.Waiting), "")
			r[5] = cell{text: h.State}
			if !strings.HasPrefix(h.State, "delivered") {
				r[5].colour = red
			}
			rows = append(rows, r)
		}
		w.table([]string{"ID", "TENANT", "ADDRESS", "EVENTS", "WAITING", "LAST DELIVERY"}, rows)
		return nil
	})
	return c
}

func newWebhookDelete(w *world) *cobra.Command {
	c := &cobra.Command{Use: "delete ID", Short: "Stop sending events to an address", Args: cobra.ExactArgs(1), Example: "  isthmus access webhook delete h7k2mq5rv3xa"}
	n := addConnection(w, c)
	c.ValidArgsFunction = completeWebhooks(n)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		if err := s.DeleteWebhook(c.Context(), args[0]); err != nil {
			return err
		}
		w.printf("webhook %s deleted\n", args[0])
		return nil
	})
	return c
}

func newWebhookTest(w *world) *cobra.Command {
	c := &cobra.Command{Use: "test ID", Short: "Send an event to try an address", Args: cobra.ExactArgs(1), Example: "  isthmus access webhook test h7k2mq5rv3xa"}
	n := addConnection(w, c)
	c.ValidArgsFunction = completeWebhooks(n)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		if err := s.TestWebhook(c.Context(), args[0]); err != nil {
			return err
		}
		w.printf("webhook %s: the receiver took it\n", args[0])
		return nil
	})
	return c
}

func completeWebhooks(n *connection) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.Webhooks(ctx)
			if err != nil {
				return nil
			}
			var out []string
			for _, h := range list {
				out = append(out, h.ID+"\t"+harmless(h.URL))
			}
			return out
		})
	}
}
