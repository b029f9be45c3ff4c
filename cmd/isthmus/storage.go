package main

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
)

func newStorage(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "storage", Short: "Keep blob services: their keys, containers and blobs",
		Long: `A blob service has containers, and containers have blobs. Programs reach it with the SDKs of Azure Blob Storage. Here it is reached in one of two ways: on the
machine of the hub process that serves it through its data directory, or from anywhere with the account's connection string. A connection string is a secret: it is
read from a file or from ISTHMUS_STORAGE_CONNECTION_STRING, never from the command line.`,
		Example: `  isthmus storage container create aggregates
  isthmus storage upload aggregates/2026/report.parquet report.parquet
  isthmus storage list aggregates --prefix 2026/
  isthmus storage connection-string > lake.connection`,
	}
	c.AddCommand(newStorageAccounts(w), newStorageShow(w), newStorageKeys(w), newStorageConnectionString(w), newStorageContainer(w), newStorageList(w), newStorageUpload(w),
		newStorageDownload(w), newStorageDelete(w), newStorageSAS(w))
	return c
}

func newStorageAccounts(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "accounts", Short: "List the blob services a process on this machine serves", Args: cobra.NoArgs, Example: "  isthmus storage accounts"}
	a := addStorageAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	open := func() (*hubclient.Client, error) {
		socket, err := a.socket()
		if err != nil {
			return nil, err
		}
		return hubclient.New(hubclient.Config{Socket: socket}, w.clock)
	}
	c.RunE = access[*hubclient.Client]{open}.asking(func(c *cobra.Command, process *hubclient.Client, _ []string) error {
		all, err := process.Hubs(c.Context())
		if err != nil {
			return err
		}
		type view struct {
			Name      string   `json:"name"`
			HostNames []string `json:"hostNames"`
			Public    bool     `json:"public"`
		}
		var list []view
		var rows [][]cell
		for _, h := range all {
			if !h.Storage {
				continue
			}
			side := "closed"
			if h.Public {
				side = "open"
			}
			list = append(list, view{h.Name, h.HostNames, h.Public})
			rows = append(rows, cells(h.Name, strings.Join(h.HostNames, ", "), side))
			if out.format == outName {
				w.printf("%s\n", harmless(h.Name))
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		if out.format == outTable {
			w.table([]string{"ACCOUNT", "HOST NAMES", "PUBLIC SIDE"}, rows)
		}
		return nil
	})
	return c
}

// localStorage is the way of commands that only the machine of the hub process has.
func localStorage(w *world, c *cobra.Command) access[*storageClient] {
	return access[*storageClient]{addStorageAccess(w, c).openSocket}
}

func newStorageShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "show", Short: "Show how much a blob service holds, and what opens it", Args: cobra.NoArgs, Example: "  isthmus storage show"}
	a := localStorage(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, s *storageClient, _ []string) error {
		var v httpdoor.AccountJSON
		err := s.ask(c.Context(), http.MethodGet, "", nil, &v)
		if err != nil || out.structured() {
			return w.orWrite(&out, v, err)
		}
		keys := "keys, signatures and identities"
		if v.KeysOff {
			keys = "identities"
		}
		w.pairs([2]string{"Blob service", v.Name}, [2]string{"Account", v.Account}, [2]string{"Host names", strings.Join(v.HostNames, ", ")}, [2]string{"Opened by", keys},
			[2]string{"Blobs", strconv.FormatInt(v.Blobs, 10)}, [2]string{"Bytes", strconv.FormatInt(v.Bytes, 10)})
		return nil
	})
	return c
}

func newStorageKeys(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "keys", Short: "Show and renew the account's keys",
		Long: `Show and renew the account's keys, on the machine of the hub process only. They are secrets.`,
		Example: `  isthmus storage keys show -o json > keys.json
  isthmus storage keys renew --key secondary`,
	}
	c.AddCommand(newStorageKeysShow(w), newStorageKeysRenew(w))
	return c
}

func newStorageKeysShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "show", Short: "Print both keys; they are secrets", Args: cobra.NoArgs, Example: "  isthmus storage keys show -o json > keys.json"}
	a := localStorage(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, s *storageClient, _ []string) error {
		var v httpdoor.KeysJSON
		err := s.ask(c.Context(), http.MethodGet, "/keys", nil, &v)
		if err != nil || out.structured() {
			return w.orWrite(&out, v, err)
		}
		w.pairs([2]string{"Account", v.Account}, [2]string{"Primary key", v.Primary}, [2]string{"Secondary key", v.Secondary})
		return nil
	})
	return c
}

func newStorageKeysRenew(w *world) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "renew --key primary|secondary", Short: "Make a new key in place of one", Args: cobra.NoArgs,
		Long: "Make a new key in place of one. The old key, and every signature made with it, opens nothing from then on. No key is shown.",
		Example: `  isthmus storage keys renew --key secondary
  isthmus storage connection-string --key secondary > lake.connection`,
	}
	a := localStorage(w, c)
	c.Flags().StringVar(&key, "key", "", "`KEY` to renew: primary or secondary (required)")
	completingValues(c, "key", "primary", "secondary")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, s *storageClient, _ []string) error {
			var v httpdoor.KeysJSON
			if err := s.ask(c.Context(), http.MethodPost, "/keys", map[string]string{"renew": key}, &v); err != nil {
				return err
			}
			w.printf("the %s key of %s is renewed\n", key, harmless(v.Account))
			return nil
		})(c, args)
	}
	return c
}

func newStorageConnectionString(w *world) *cobra.Command {
	var key, endpoint string
	c := &cobra.Command{
		Use: "connection-string", Short: "Print what a program's SDK is given; it is a secret", Args: cobra.NoArgs,
		Long:    "Print the account's connection string, on the machine of the hub process only. It is a secret, and opens everything: give programs signatures or roles where these do.",
		Example: "  isthmus storage connection-string > lake.connection",
	}
	a := localStorage(w, c)
	addKeyChoice(c, &key)
	c.Flags().StringVar(&endpoint, "endpoint", "", "`URL` of the account, where that is not its public name on port 443")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, s *storageClient, _ []string) error {
			var v httpdoor.KeysJSON
			if err := s.ask(c.Context(), http.MethodGet, "/keys", nil, &v); err != nil {
				return err
			}
			secret := v.Primary
			if key == "secondary" {
				secret = v.Secondary
			}
			w.printf("DefaultEndpointsProtocol=https;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;\n", v.Account, secret, first(endpoint, v.Endpoint))
			return nil
		})(c, args)
	}
	return c
}

func newStorageContainer(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "container", Aliases: []string{"containers"}, Short: "Create, list and delete containers",
		Example: `  isthmus storage container create aggregates
  isthmus storage container list`,
	}
	c.AddCommand(newContainerCreate(w), newContainerList(w), newContainerDelete(w))
	return c
}

func newContainerCreate(w *world) *cobra.Command {
	c := &cobra.Command{Use: "create CONTAINER...", Short: "Create containers beside those that the resource declares", Args: cobra.MinimumNArgs(1), Example: "  isthmus storage container create aggregates"}
	c.RunE = toStorage(w, c).asking(func(c *cobra.Command, s *storageClient, args []string) error {
		for _, name := range args {
			if _, err := s.CreateContainer(c.Context(), name, nil); err != nil {
				return storageError(err)
			}
			w.printf("container %s created\n", harmless(name))
		}
		return nil
	})
	return c
}

// containerView is a container as it is listed.
type containerView struct {
	Name     string    `json:"name"`
	Modified time.Time `json:"modified"`
	ETag     string    `json:"etag"`
}

func containers(c *cobra.Command, s *storageClient) ([]containerView, error) {
	var out []containerView
	for pager := s.NewListContainersPager(&azblob.ListContainersOptions{}); pager.More(); {
		p, err := pager.NextPage(c.Context())
		if err != nil {
			return nil, storageError(err)
		}
		for _, i := range p.ContainerItems {
			out = append(out, containerView{*i.Name, *i.Properties.LastModified, string(*i.Properties.ETag)})
		}
	}
	return out, nil
}

func newContainerList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "list", Short: "List containers", Args: cobra.NoArgs, Example: "  isthmus storage container list"}
	a := toStorage(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = a.asking(func(c *cobra.Command, s *storageClient, _ []string) error {
		list, err := containers(c, s)
		if err != nil || out.structured() {
			return w.orWrite(&out, itemsOf(list), err)
		}
		var rows [][]cell
		for _, i := range list {
			if out.format == outName {
				w.printf("%s\n", harmless(i.Name))
			}
			rows = append(rows, cells(i.Name, w.ago(i.Modified)))
		}
		if out.format == outTable {
			w.table([]string{"CONTAINER", "MODIFIED"}, rows)
		}
		return nil
	})
	return c
}

func newContainerDelete(w *world) *cobra.Command {
	c := &cobra.Command{Use: "delete CONTAINER...", Short: "Delete containers with all their blobs; what the resource declares cannot be", Args: cobra.MinimumNArgs(1), Example: "  isthmus storage container delete scratch"}
	c.RunE = toStorage(w, c).asking(func(c *cobra.Command, s *storageClient, args []string) error {
		for _, name := range args {
			if _, err := s.DeleteContainer(c.Context(), name, nil); err != nil {
				return storageError(err)
			}
			w.printf("container %s deleted\n", harmless(name))
		}
		return nil
	})
	return c
}
