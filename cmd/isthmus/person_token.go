package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
)

// handover is how a fresh token gets to whoever asked for it.
type handover struct {
	out  output
	file string
}

func (h *handover) addTo(c *cobra.Command) {
	h.out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVar(&h.file, "out", "", "write the token to a new `FILE` only this user may read, instead of standard output")
}

// make asks for a token, once it is certain that it can be kept.
func (h *handover) make(w *world, ask func() (string, client.Token, error)) error {
	kept, err := createSecret(h.file)
	if err != nil {
		return err
	}
	defer kept.close()
	secret, t, err := ask()
	if err != nil {
		return err
	}
	until := ""
	if !t.ExpiresAt.IsZero() {
		until = "; it ends at " + w.at(t.ExpiresAt)
	}
	switch {
	case h.file != "":
		if err := kept.write(secret); err != nil {
			return err
		}
		w.printf("token %s of %s is in %s%s\n", t.ID, t.Name, h.file, until)
	case h.out.structured():
		return h.out.write(w, struct {
			Secret string       `json:"secret"`
			Token  client.Token `json:"token"`
		}{secret, t})
	default:
		w.printf("%s\n", secret)
		w.note("this is token %s of %s; it is not shown again%s", t.ID, t.Name, until)
	}
	return nil
}

// createMine makes another token of whoever asks.
func createMine(c *cobra.Command, s *session, h *handover, name string, life long) error {
	who, err := s.me(c.Context())
	if err != nil {
		return err
	}
	return h.make(s.w, func() (string, client.Token, error) {
		return s.CreatePersonToken(c.Context(), who.Person, name, time.Duration(life))
	})
}

// me is the person who asks.
func (s *session) me(ctx context.Context) (client.Principal, error) {
	who, err := s.WhoAmI(ctx)
	if err == nil && who.Person == "" {
		err = fault.Newf("isthmus.me", fault.Denied, "%s is a program, and only people have tokens of their own", principalWords(who)).
			Advise("log in as yourself: isthmus login --provider TENANT/NAME, or with your own token")
	}
	return who, err
}

// mine lists the tokens of whoever asks.
func (s *session) mine(ctx context.Context) ([]client.Token, error) {
	who, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	return s.PersonTokens(ctx, who.Person)
}

func showTokens(w *world, out *output, list []client.Token) error {
	if out.structured() {
		if list == nil {
			list = []client.Token{}
		}
		return out.write(w, struct {
			Items []client.Token `json:"items"`
		}{list})
	}
	var rows [][]cell
	for _, t := range list {
		r := cells(t.ID, t.Name, first(t.Tenant, "(deployment)"), t.Role, "", w.ago(t.LastUsed), w.age(t.CreatedAt), t.CreatedBy)
		if t.Person != "" {
			r[3].text = "(a person's)"
		}
		r[4] = w.tokenState(t)
		rows = append(rows, r)
	}
	w.table([]string{"ID", "NAME", "TENANT", "ROLE", "STATE", "LAST USED", "AGE", "MADE BY"}, rows)
	return nil
}

func (w *world) tokenState(t client.Token) cell {
	switch {
	case !t.RevokedAt.IsZero():
		return cell{"revoked " + w.ago(t.RevokedAt), red}
	case t.ExpiresAt.IsZero():
		return cell{"valid", green}
	case !w.clock.Now().Before(t.ExpiresAt):
		return cell{text: "ended " + w.ago(t.ExpiresAt)}
	}
	return cell{"valid, " + span(t.ExpiresAt.Sub(w.clock.Now())) + " left", green}
}

func newPersonToken(w *world) *cobra.Command {
	var (
		given        handover
		tenant, what string
		life         long
	)
	c := &cobra.Command{
		Use: "token NAME", Short: "Make the first token of a person", Args: cobra.ExactArgs(1),
		Long: `Make a token for a person who has none, and hand it over; the person makes the next ones himself, with "isthmus token create --mine". It may do what the
person's roles let him do and always has an end. People of an identity provider have no such tokens: they sign in.`,
		Example: "  isthmus person token ann --expires 90d --out ann.token",
	}
	n := addConnection(w, c)
	given.addTo(c)
	f := c.Flags()
	f.StringVarP(&tenant, "tenant", "t", "", "`TENANT` of the person; your own when absent")
	f.StringVar(&what, "for", "", "`WHAT` the token is for, for lists of tokens; personal when absent")
	addLong(c, &life, "expires", "how `LONG` it is good: 90d when absent, at most 366d")
	c.ValidArgsFunction = completePeople(n, &tenant)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		p, err := s.personNamed(c.Context(), tenant, args[0])
		if err != nil {
			return err
		}
		return given.make(w, func() (string, client.Token, error) {
			return s.CreatePersonToken(c.Context(), p.UID, what, time.Duration(life))
		})
	})
	return c
}
