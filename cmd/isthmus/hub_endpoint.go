package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// Kinds of endpoints.
const (
	kindStream  = "stream"
	kindStorage = "storage"
	kindWebhook = "webhook"
)

func newHubEndpoint(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "endpoint", Aliases: []string{"endpoints"}, Short: "Say where routes can lead: streams, files in buckets, webhooks",
		Long: `Every endpoint has a stream of its own, in which a message is durable before its device is told that it arrived. From there storage endpoints write files and webhooks
are called; what waits, and what goes wrong, is shown here. The built-in endpoint is called events and is always there.`,
		Example: `  isthmus hub endpoint add archive --kind storage --bucket archive
  isthmus hub endpoint add alarms --kind webhook --url https://alarms.plant-7.example/in --key-file alarms.key
  isthmus hub endpoint list`,
	}
	n := &noun[*hubclient.Client, hubclient.Endpoint]{
		w: w, word: "endpoint", path: "isthmus hub endpoint", reach: toHub, list: allEndpoints, remove: uncounted((*hubclient.Client).DeleteEndpoint),
		name: func(e hubclient.Endpoint) string { return e.Name }, heads: []string{"ENDPOINT", "KIND", "WHERE", "WAITING", "OLDEST", "DELIVERED", "PUT ASIDE", "STATE"},
		row: w.endpointRow, show: w.printEndpoint,
	}
	c.AddCommand(newEndpointAdd(w), n.newList("List endpoints, with how deliveries to each go", ""), n.newShow("Show an endpoint, and how deliveries to it go", "alarms"),
		n.newDelete("Take endpoints away; what they hold stays until it is too old", "archive"))
	return c
}

func allEndpoints(hub *hubclient.Client, ctx context.Context) ([]hubclient.Endpoint, error) {
	r, err := hub.Routing(ctx)
	return r.Endpoints, err
}

func completeEndpoints(a access[*hubclient.Client]) cobra.CompletionFunc {
	return a.completing(true, func(ctx context.Context, hub *hubclient.Client, _ string) ([]string, error) {
		list, err := allEndpoints(hub, ctx)
		names := []string{"events"}
		for _, e := range list {
			names = append(names, e.Name)
		}
		return names, err
	})
}

func endpointPlace(e hubclient.Endpoint) string {
	switch e.Kind {
	case kindStorage:
		return e.Bucket + "/" + e.Prefix
	case kindWebhook:
		return e.URL
	}
	return "the hub's log"
}

func (w *world) endpointRow(e hubclient.Endpoint) []cell {
	r := cells(e.Name, e.Kind, endpointPlace(e), "", "", "", "", "")
	if p := e.Progress; p != nil {
		r[3].text, r[5].text, r[6].text = itoa(int(p.Waiting)), itoa(int(p.Delivered)), itoa(int(p.PutAside))
		if p.Waiting > 0 {
			r[4].text = w.age(p.Oldest)
		}
		if p.PutAside > 0 {
			r[6].colour = red
		}
		r[7] = cell{"ok", green}
		if !p.Failing.IsZero() {
			r[7] = cell{"failing since " + w.ago(p.Failing), red}
		}
	}
	return r
}

func (w *world) printEndpoint(e hubclient.Endpoint) {
	rows := [][2]string{{"Endpoint", e.Name}, {"Kind", e.Kind}, {"Where", endpointPlace(e)}}
	if e.Kind == kindStorage {
		rows = append(rows, [2]string{"A file after", itoa(e.BatchSeconds) + " s or " + size(uint64(max(e.BatchBytes, 0)))})
	}
	if e.Kind == kindWebhook {
		signed := "no"
		if e.HasKey {
			signed = "yes"
		}
		rows = append(rows, [2]string{"Signed", signed}, [2]string{"Tries what is refused", count(e.Attempts, "time")})
	}
	if p := e.Progress; p != nil {
		rows = append(rows, [2]string{"Waiting", itoa(int(p.Waiting))}, [2]string{"Oldest", w.at(p.Oldest)}, [2]string{"Delivered", itoa(int(p.Delivered))},
			[2]string{"Put aside", itoa(int(p.PutAside))}, [2]string{"Too old", itoa(int(p.Lost))}, [2]string{"Failing since", w.at(p.Failing)},
			[2]string{"Last error", p.LastError}, [2]string{"Next try", w.at(p.NextTry)})
	}
	w.pairs(rows...)
	if p := e.Progress; p != nil && p.PutAside > 0 {
		w.note("what was put aside: isthmus hub events --endpoint %s/deadletter", e.Name)
	}
}

func newEndpointAdd(w *world) *cobra.Command {
	var e hubclient.Endpoint
	var keyFile, authority string
	var out output
	c := &cobra.Command{
		Use: "add ENDPOINT --kind stream|storage|webhook", Aliases: []string{"set"}, Short: "Add an endpoint, or replace the one of its name", Args: cobra.ExactArgs(1),
		Long: `Add an endpoint. A stream is read with "isthmus hub events --endpoint". A storage endpoint writes files of JSON lines where the hub keeps files of devices. A webhook is
posted to over HTTPS, signed when it has a key.`,
		Example: `  isthmus hub endpoint add hot --kind stream
  isthmus hub endpoint add archive --kind storage --bucket archive --prefix raw/ --batch-seconds 300
  isthmus hub endpoint add alarms --kind webhook --url https://alarms.plant-7.example/in --key-file alarms.key --authority plant-ca.pem`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	f := c.Flags()
	f.StringVar(&e.Kind, "kind", "", "`KIND`: stream, storage or webhook (required)")
	f.StringVar(&e.Bucket, "bucket", "", "`NAME` of the container, of a storage endpoint")
	f.StringVar(&e.Prefix, "prefix", "", "`TEXT` that names of its files begin with")
	f.IntVar(&e.BatchSeconds, "batch-seconds", 0, "a file is written after so many `SECONDS`, 1 to 720")
	f.IntVar(&e.BatchBytes, "batch-bytes", 0, "or when there are so many `BYTES`, 65536 to 67108864")
	f.StringVar(&e.URL, "url", "", "`URL` of a webhook, with https://")
	f.StringVar(&keyFile, "key-file", "", "`FILE` with the key that signs what a webhook is sent, base64; - for standard input")
	f.StringVar(&authority, "authority", "", "PEM `FILE` with the authority of the webhook's certificate, instead of this machine's")
	f.IntVar(&e.Attempts, "attempts", 0, "a message that a webhook refuses is put aside after so many `TRIES`")
	completingValues(c, "kind", kindStream, kindStorage, kindWebhook)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		switch {
		case e.Kind == "":
			return usagef("--kind is missing").advise("write --kind stream, storage or webhook")
		case e.Kind == kindStorage && e.Bucket == "":
			return usagef("--bucket is missing").advise("name a container: --bucket archive")
		case e.Kind == kindWebhook && e.URL == "":
			return usagef("--url is missing").advise("write --url https://..")
		}
		if keyFile != "" {
			if e.Key, err = w.secret("key", keyFile); err != nil {
				return err
			}
		}
		if authority != "" {
			list, err := certificatesIn(authority)
			if err != nil {
				return err
			}
			e.Authority = pemOf(list...)
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			e.Name = args[0]
			made, err := hub.PutEndpoint(c.Context(), e)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, made)
			}
			w.printf("endpoint %s added: %s, %s\n", harmless(made.Name), harmless(made.Kind), harmless(endpointPlace(made)))
			w.note("nothing goes there before a route leads to it: isthmus hub route add NAME --to %s", made.Name)
			return nil
		})(c, args)
	}
	return c
}
