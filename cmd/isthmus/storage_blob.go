package main

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// place takes CONTAINER/BLOB apart.
func place(text string) (container, name string, err error) {
	container, name, ok := strings.Cut(text, "/")
	if !ok || container == "" || name == "" {
		return "", "", usagef("%q is not CONTAINER/BLOB", text).advise("write it as aggregates/2026/report.parquet")
	}
	return container, name, nil
}

// blobView is a blob as it is listed.
type blobView struct {
	Name        string    `json:"name"`
	Size        int64     `json:"size"`
	ContentType string    `json:"contentType,omitempty"`
	Modified    time.Time `json:"modified"`
	ETag        string    `json:"etag"`
}

func newStorageList(w *world) *cobra.Command {
	var out output
	var prefix string
	c := &cobra.Command{
		Use: "list CONTAINER", Short: "List the blobs of a container", Args: cobra.ExactArgs(1),
		Example: `  isthmus storage list aggregates
  isthmus storage list aggregates --prefix 2026/11/ -o json`,
	}
	a := toStorage(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.Flags().StringVar(&prefix, "prefix", "", "only blobs whose name begins with `TEXT`")
	c.RunE = a.asking(func(c *cobra.Command, s *storageClient, args []string) error {
		list := []blobView{}
		var rows [][]cell
		for pager := s.NewListBlobsFlatPager(args[0], &azblob.ListBlobsFlatOptions{Prefix: &prefix}); pager.More(); {
			p, err := pager.NextPage(c.Context())
			if err != nil {
				return storageError(err)
			}
			for _, i := range p.Segment.BlobItems {
				v := blobView{Name: *i.Name, Size: *i.Properties.ContentLength, Modified: *i.Properties.LastModified, ETag: string(*i.Properties.ETag)}
				if i.Properties.ContentType != nil {
					v.ContentType = *i.Properties.ContentType
				}
				switch {
				case out.format == outName:
					w.printf("%s\n", harmless(v.Name))
				case out.structured():
					list = append(list, v)
				default:
					rows = append(rows, cells(v.Name, itoa(int(v.Size)), w.ago(v.Modified), v.ContentType))
				}
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		if out.format == outTable {
			w.table([]string{"BLOB", "BYTES", "MODIFIED", "TYPE"}, rows)
		}
		return nil
	})
	return c
}

const (
	uploadBlock = 4 << 20
	uploadAhead = 4 // blocks at a time
)

func newStorageUpload(w *world) *cobra.Command {
	var contentType string
	var replace bool
	c := &cobra.Command{
		Use: "upload CONTAINER/BLOB [FILE]", Short: "Make a blob of a file, or of standard input", Args: cobra.RangeArgs(1, 2),
		Long: "Make a blob of a file, or of standard input when none is named. Nobody sees a part of it. A blob that is there stays as it is unless --replace is said.",
		Example: `  isthmus storage upload aggregates/report.parquet report.parquet
  echo hello | isthmus storage upload aggregates/hello.txt --content-type text/plain --replace`,
	}
	a := toStorage(w, c)
	c.Flags().StringVar(&contentType, "content-type", "", "`TYPE` of the content, such as application/json")
	c.Flags().BoolVar(&replace, "replace", false, "replace a blob that is there")
	c.RunE = func(c *cobra.Command, args []string) error {
		container, name, err := place(args[0])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, s *storageClient, args []string) error {
			in := w.in
			if len(args) == 2 && args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return fault.Wrap("isthmus.storage", fault.Invalid, err, "the file cannot be read: "+err.Error())
				}
				defer f.Close()
				in = f
			}
			o := &azblob.UploadStreamOptions{BlockSize: uploadBlock, Concurrency: uploadAhead, HTTPHeaders: &blob.HTTPHeaders{}}
			if contentType != "" {
				o.HTTPHeaders.BlobContentType = &contentType
			}
			if !replace {
				o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
			}
			if _, err := s.UploadStream(c.Context(), container, name, in, o); err != nil {
				return storageError(err)
			}
			w.printf("blob %s uploaded\n", harmless(container+"/"+name))
			return nil
		})(c, args)
	}
	return c
}

func newStorageDownload(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "download CONTAINER/BLOB [FILE]", Short: "Write a blob into a file, or to standard output", Args: cobra.RangeArgs(1, 2),
		Long: "Write a blob into a new file, or to standard output when none is named. A file that is there is not written over.",
		Example: `  isthmus storage download aggregates/report.parquet report.parquet
  isthmus storage download aggregates/hello.txt`,
	}
	a := toStorage(w, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		container, name, err := place(args[0])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, s *storageClient, args []string) error {
			r, err := s.DownloadStream(c.Context(), container, name, nil)
			if err != nil {
				return storageError(err)
			}
			defer r.Body.Close()
			if len(args) == 1 || args[1] == "-" {
				_, err := io.Copy(w.out, r.Body)
				return storageError(err)
			}
			f, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fault.Wrap("isthmus.storage", fault.Conflict, err, "the file cannot be made: "+err.Error())
			}
			_, err = io.Copy(f, r.Body)
			if err = errors.Join(err, f.Close()); err != nil {
				_ = os.Remove(args[1]) // half of it would be taken for the whole
				return storageError(err)
			}
			return nil
		})(c, args)
	}
	return c
}

func newStorageDelete(w *world) *cobra.Command {
	c := &cobra.Command{Use: "delete CONTAINER/BLOB...", Short: "Delete blobs", Args: cobra.MinimumNArgs(1), Example: "  isthmus storage delete aggregates/hello.txt"}
	a := toStorage(w, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, text := range args {
			if _, _, err := place(text); err != nil {
				return err
			}
		}
		return a.asking(func(c *cobra.Command, s *storageClient, args []string) error {
			for _, text := range args {
				container, name, err := place(text)
				if err != nil {
					return err
				}
				if _, err := s.DeleteBlob(c.Context(), container, name, nil); err != nil {
					return storageError(err)
				}
				w.printf("blob %s deleted\n", harmless(text))
			}
			return nil
		})(c, args)
	}
	return c
}

func newStorageSAS(w *world) *cobra.Command {
	var permissions, life, key string
	c := &cobra.Command{
		Use: "sas CONTAINER[/BLOB]", Short: "Print an address that opens a container or a blob for a while; it is a secret", Args: cobra.ExactArgs(1),
		Long: `Print an address with a shared access signature, on the machine of the hub process only: whoever has it may do what the permissions say with the container's blobs,
or with the one blob, until it ends. It is a secret. Permissions are letters: r read, c create, w write, d delete, l list.`,
		Example: `  isthmus storage sas aggregates --permissions rl --for 24h
  isthmus storage sas aggregates/report.parquet --permissions r --for 1h`,
	}
	a := localStorage(w, c)
	c.Flags().StringVar(&permissions, "permissions", "r", "`LETTERS` of r, a, c, w, d, l")
	c.Flags().StringVar(&life, "for", "1h", "`DURATION` for which it is good, at most 8760h")
	addKeyChoice(c, &key)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := time.ParseDuration(life)
		if err != nil || d <= 0 || d > 8760*time.Hour {
			return usagef("--for %q is no duration up to 8760h", life).advise("write it as 30m or 24h")
		}
		if permissions == "" || strings.Trim(permissions, "racwdl") != "" {
			return usagef("--permissions %q holds something else than letters of racwdl", permissions).advise("write r to read, rl to read and list, racwdl for everything")
		}
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, s *storageClient, args []string) error {
			var v httpdoor.KeysJSON
			if err := s.ask(c.Context(), http.MethodGet, "/keys", nil, &v); err != nil {
				return err
			}
			secret := v.Primary
			if key == "secondary" {
				secret = v.Secondary
			}
			b, err := base64.StdEncoding.DecodeString(secret)
			if err != nil {
				return fault.Wrap("isthmus.storage", fault.Internal, err, "")
			}
			container, name, _ := strings.Cut(args[0], "/")
			sas := azureblob.SAS{Version: azureblob.SASVersion, Resource: "c", Permissions: inOrder(permissions), Expires: azureblob.SASTime(w.clock.Now().Add(d)), Protocol: "https"}
			at := v.Endpoint + "/" + container
			if name != "" {
				sas.Resource = "b"
				at += "/" + azureblob.EscapePath(name)
			}
			w.printf("%s?%s\n", at, sas.Query(b, v.Account, container, name).Encode())
			return nil
		})(c, args)
	}
	return c
}

// inOrder writes permissions in the order in which Azure's services want them.
func inOrder(permissions string) string {
	out := ""
	for _, l := range "racwdl" {
		if strings.ContainsRune(permissions, l) {
			out += string(l)
		}
	}
	return out
}
