package storage

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/gcerrors"

	"github.com/isthmus-io/isthmus/storage/storagetest"
)

func options(w *storagetest.World) policy.ClientOptions {
	return policy.ClientOptions{Transport: w.HTTP.Client(), Retry: policy.RetryOptions{MaxRetries: -1}}
}

func client(t *testing.T, w *storagetest.World) *azblob.Client {
	t.Helper()
	c, err := azblob.NewClientFromConnectionString(w.ConnectionString(), &azblob.ClientOptions{ClientOptions: options(w)})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, code bloberror.Code) {
	t.Helper()
	if !bloberror.HasCode(err, code) {
		t.Errorf("%v, want %s", err, code)
	}
}

// TestAzblob: what azblob does with containers and blobs.
func TestAzblob(t *testing.T) {
	t.Parallel()
	w, ctx := storagetest.Start(t, storagetest.Options{}), t.Context()
	c := client(t, w)
	_, err := c.CreateContainer(ctx, "aggregates", &container.CreateOptions{Metadata: map[string]*string{"line": to.Ptr("7")}})
	must(t, err)
	_, err = c.CreateContainer(ctx, "aggregates", nil)
	refused(t, err, bloberror.ContainerAlreadyExists)
	cc := c.ServiceClient().NewContainerClient("aggregates")
	p, err := cc.GetProperties(ctx, nil)
	if err != nil || p.Metadata["Line"] == nil || *p.Metadata["Line"] != "7" {
		t.Errorf("%v, %v", p.Metadata, err)
	}
	_, err = c.ServiceClient().NewContainerClient("nowhere").GetProperties(ctx, nil)
	refused(t, err, bloberror.ContainerNotFound)
	_, err = c.CreateContainer(ctx, "public", &container.CreateOptions{Access: to.Ptr(container.PublicAccessTypeBlob)})
	refused(t, err, "PublicAccessNotPermitted")

	t.Run("blocks", func(t *testing.T) {
		big := make([]byte, 9<<20+17)
		_, _ = rand.Read(big)
		name := "deep/ü folder/big%2F+1.bin"
		_, err := c.UploadStream(ctx, "aggregates", name, bytes.NewReader(big), &azblob.UploadStreamOptions{BlockSize: 1 << 20, Concurrency: 8, Metadata: map[string]*string{"a_b": to.Ptr("1"), "aab": to.Ptr("2")}})
		must(t, err)
		got := make([]byte, len(big))
		n, err := c.DownloadBuffer(ctx, "aggregates", name, got, &azblob.DownloadBufferOptions{BlockSize: 1 << 20, Concurrency: 5})
		if err != nil || n != int64(len(big)) || !bytes.Equal(got, big) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		r, err := c.DownloadStream(ctx, "aggregates", name, &azblob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 5, Count: 100}, RangeGetContentMD5: to.Ptr(true)})
		must(t, err)
		part, err := io.ReadAll(r.Body)
		sum := md5.Sum(big[5:105])
		if err != nil || !bytes.Equal(part, big[5:105]) || !bytes.Equal(r.ContentMD5, sum[:]) {
			t.Errorf("a range is %d bytes, %v", len(part), err)
		}
		bb := cc.NewBlockBlobClient(name)
		list, err := bb.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
		if err != nil || len(list.CommittedBlocks) != 10 || len(list.UncommittedBlocks) != 0 {
			t.Fatalf("%d blocks, %v", len(list.CommittedBlocks), err)
		}
		// The last block first, and one new: the others are not sent again.
		id := "bmV3LWJsb2NrLTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
		_, err = bb.StageBlock(ctx, id, nopCloser{strings.NewReader("new")}, nil)
		must(t, err)
		_, err = bb.CommitBlockList(ctx, []string{*list.CommittedBlocks[9].Name, id, *list.CommittedBlocks[0].Name}, nil)
		must(t, err)
		r, err = c.DownloadStream(ctx, "aggregates", name, nil)
		must(t, err)
		all, err := io.ReadAll(r.Body)
		if want := string(big[9<<20:]) + "new" + string(big[:1<<20]); err != nil || string(all) != want {
			t.Errorf("%d bytes, %v", len(all), err)
		}
		_, err = bb.CommitBlockList(ctx, []string{"bWlzc2luZw=="}, nil)
		refused(t, err, bloberror.InvalidBlockList)
	})
	t.Run("conditions", func(t *testing.T) {
		one, err := c.UploadBuffer(ctx, "aggregates", "c", []byte("one"), nil)
		must(t, err)
		_, err = c.UploadBuffer(ctx, "aggregates", "c", []byte("two"), &azblob.UploadBufferOptions{
			AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}})
		refused(t, err, bloberror.BlobAlreadyExists)
		match := &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: one.ETag}}
		_, err = c.UploadBuffer(ctx, "aggregates", "c", []byte("two"), &azblob.UploadBufferOptions{AccessConditions: match})
		must(t, err)
		_, err = c.UploadBuffer(ctx, "aggregates", "c", []byte("three"), &azblob.UploadBufferOptions{AccessConditions: match})
		refused(t, err, bloberror.ConditionNotMet)
		now, err := cc.NewBlobClient("c").GetProperties(ctx, nil)
		must(t, err)
		same, err := cc.NewBlobClient("c").DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: now.ETag}}})
		if err != nil || same.ErrorCode == nil || *same.ErrorCode != string(bloberror.ConditionNotMet) {
			t.Errorf("who knows it gets %v, %v", same.ErrorCode, err)
		}
		_, err = c.DeleteBlob(ctx, "aggregates", "c", &azblob.DeleteBlobOptions{AccessConditions: match})
		refused(t, err, bloberror.ConditionNotMet)
		_, err = c.DeleteBlob(ctx, "aggregates", "c", nil)
		must(t, err)
		_, err = c.DeleteBlob(ctx, "aggregates", "c", nil)
		refused(t, err, bloberror.BlobNotFound)
	})
	t.Run("leases", func(t *testing.T) {
		_, err := c.UploadBuffer(ctx, "aggregates", "l", []byte("x"), nil)
		must(t, err)
		l, err := lease.NewBlobClient(cc.NewBlobClient("l"), nil)
		must(t, err)
		_, err = l.AcquireLease(ctx, 15, nil)
		must(t, err)
		_, err = c.UploadBuffer(ctx, "aggregates", "l", []byte("y"), nil)
		refused(t, err, bloberror.LeaseIDMissing)
		other, err := lease.NewBlobClient(cc.NewBlobClient("l"), nil)
		must(t, err)
		_, err = other.AcquireLease(ctx, -1, nil)
		refused(t, err, bloberror.LeaseAlreadyPresent)
		_, err = l.RenewLease(ctx, nil)
		must(t, err)
		_, err = c.UploadBuffer(ctx, "aggregates", "l", []byte("y"), &azblob.UploadBufferOptions{AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: l.LeaseID()}}})
		must(t, err)
		_, err = l.ReleaseLease(ctx, nil)
		must(t, err)
		_, err = c.DeleteBlob(ctx, "aggregates", "l", nil)
		must(t, err)
	})
	t.Run("copy", func(t *testing.T) {
		_, err := c.UploadBuffer(ctx, "aggregates", "from", []byte(strings.Repeat("x", 10_000)), &azblob.UploadBufferOptions{Metadata: map[string]*string{"k": to.Ptr("v")}})
		must(t, err)
		from := cc.NewBlobClient("from").URL()
		r, err := cc.NewBlobClient("to").StartCopyFromURL(ctx, from, nil)
		if err != nil || *r.CopyStatus != blob.CopyStatusTypeSuccess {
			t.Fatalf("%+v, %v", r, err)
		}
		_, err = c.DeleteBlob(ctx, "aggregates", "from", nil)
		must(t, err)
		p, err := cc.NewBlobClient("to").GetProperties(ctx, nil)
		if err != nil || *p.ContentLength != 10_000 || *p.Metadata["K"] != "v" || *p.CopySource != from {
			t.Errorf("%+v, %v", p, err)
		}
		_, err = cc.NewBlobClient("to").StartCopyFromURL(ctx, "https://other.example.org/a/b", nil)
		refused(t, err, bloberror.CannotVerifyCopySource)
		_, err = cc.NewBlockBlobClient("to-2").UploadBlobFromURL(ctx, cc.NewBlobClient("to").URL(), nil)
		must(t, err)
	})
	t.Run("lists", func(t *testing.T) {
		_, err := c.CreateContainer(ctx, "many", nil)
		must(t, err)
		for i := range 25 {
			_, err := c.UploadBuffer(ctx, "many", fmt.Sprintf("d%d/f%02d", i%3, i), nil, &azblob.UploadBufferOptions{Metadata: map[string]*string{"i": to.Ptr(fmt.Sprint(i))}})
			must(t, err)
		}
		var names []string
		flat := c.NewListBlobsFlatPager("many", &azblob.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](7), Include: container.ListBlobsInclude{Metadata: true}})
		pages := 0
		for flat.More() {
			p, err := flat.NextPage(ctx)
			must(t, err)
			pages++
			for _, b := range p.Segment.BlobItems {
				names = append(names, *b.Name)
				if b.Metadata["i"] == nil || b.Properties.ETag == nil {
					t.Errorf("%s has metadata %v", *b.Name, b.Metadata)
				}
			}
		}
		if len(names) != 25 || pages != 4 {
			t.Errorf("%d names in %d pages", len(names), pages)
		}
		tree := c.ServiceClient().NewContainerClient("many").NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{MaxResults: to.Ptr[int32](2)})
		var prefixes []string
		for tree.More() {
			p, err := tree.NextPage(ctx)
			must(t, err)
			for _, b := range p.Segment.BlobPrefixes {
				prefixes = append(prefixes, *b.Name)
			}
		}
		if fmt.Sprint(prefixes) != "[d0/ d1/ d2/]" {
			t.Errorf("%v", prefixes)
		}
		var containers []string
		for pager := c.NewListContainersPager(&azblob.ListContainersOptions{MaxResults: to.Ptr[int32](1)}); pager.More(); {
			p, err := pager.NextPage(ctx)
			must(t, err)
			for _, i := range p.ContainerItems {
				containers = append(containers, *i.Name)
			}
		}
		if fmt.Sprint(containers) != "[aggregates many]" {
			t.Errorf("%v", containers)
		}
	})
	t.Run("signatures", func(t *testing.T) {
		_, err := c.UploadBuffer(ctx, "aggregates", "s/1", []byte("s"), nil)
		must(t, err)
		end := time.Now().Add(time.Hour)
		account, err := c.ServiceClient().GetSASURL(sas.AccountResourceTypes{Object: true, Container: true}, sas.AccountPermissions{Read: true, List: true, Create: true}, end, nil)
		must(t, err)
		ac, err := azblob.NewClientWithNoCredential(account, &azblob.ClientOptions{ClientOptions: options(w)})
		must(t, err)
		read(t, ac, "aggregates", "s/1", "s")
		_, err = ac.UploadBuffer(ctx, "aggregates", "s/1", []byte("t"), nil)
		refused(t, err, bloberror.AuthorizationPermissionMismatch)
		_, err = ac.UploadBuffer(ctx, "aggregates", "s/2", []byte("t"), nil)
		must(t, err)
		_, err = ac.NewListContainersPager(nil).NextPage(ctx)
		refused(t, err, bloberror.AuthorizationResourceTypeMismatch)

		at, err := cc.NewBlobClient("s/1").GetSASURL(sas.BlobPermissions{Read: true}, end, nil)
		must(t, err)
		bc, err := blob.NewClientWithNoCredential(at, &blob.ClientOptions{ClientOptions: options(w)})
		must(t, err)
		_, err = bc.GetProperties(ctx, nil)
		must(t, err)
		_, err = bc.Delete(ctx, nil)
		refused(t, err, bloberror.AuthorizationPermissionMismatch)
		bc, err = blob.NewClientWithNoCredential(strings.Replace(at, "s%2F1", "s%2F2", 1), &blob.ClientOptions{ClientOptions: options(w)})
		must(t, err)
		_, err = bc.DownloadStream(ctx, nil)
		refused(t, err, bloberror.AuthenticationFailed)

		at, err = cc.GetSASURL(sas.ContainerPermissions{Read: true, List: true}, end, nil)
		must(t, err)
		nc, err := container.NewClientWithNoCredential(at, &container.ClientOptions{ClientOptions: options(w)})
		must(t, err)
		_, err = nc.NewListBlobsFlatPager(nil).NextPage(ctx)
		must(t, err)
		_, err = nc.Delete(ctx, nil)
		refused(t, err, bloberror.AuthorizationResourceTypeMismatch)

		nobody, err := azblob.NewClientWithNoCredential(w.URL(), &azblob.ClientOptions{ClientOptions: options(w)})
		must(t, err)
		_, err = nobody.DownloadStream(ctx, "aggregates", "s/1", nil)
		refused(t, err, "PublicAccessNotPermitted")
	})
}

func read(t *testing.T, c *azblob.Client, container, name, want string) {
	t.Helper()
	r, err := c.DownloadStream(t.Context(), container, name, nil)
	must(t, err)
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// TestGocloud: what a bridge's destination does, by gocloud.dev.
func TestGocloud(t *testing.T) {
	t.Parallel()
	w, ctx := storagetest.Start(t, storagetest.Options{}), t.Context()
	c := client(t, w)
	_, err := c.CreateContainer(ctx, "lake", nil)
	must(t, err)
	b, err := azureblob.OpenBucket(ctx, c.ServiceClient().NewContainerClient("lake"), nil)
	must(t, err)
	defer b.Close()
	must(t, b.WriteAll(ctx, "2026/11/a.jsonl", []byte("{}\n"), &gocloud.WriterOptions{ContentType: "application/json", Metadata: map[string]string{"window": "1"}}))
	must(t, b.Copy(ctx, "2026/11/b.jsonl", "2026/11/a.jsonl", nil))
	if got, err := b.ReadAll(ctx, "2026/11/b.jsonl"); err != nil || string(got) != "{}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if a, err := b.Attributes(ctx, "2026/11/a.jsonl"); err != nil || a.ContentType != "application/json" || a.Metadata["window"] != "1" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := b.ReadAll(ctx, "nothing"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("%v", err)
	}
	list := b.List(&gocloud.ListOptions{Prefix: "2026/", Delimiter: "/"})
	if o, err := list.Next(ctx); err != nil || o.Key != "2026/11/" || !o.IsDir {
		t.Errorf("%+v, %v", o, err)
	}
	if err := b.WriteAll(ctx, "2026/11/a.jsonl", nil, &gocloud.WriterOptions{IfNotExist: true}); gcerrors.Code(err) != gcerrors.FailedPrecondition {
		t.Errorf("%v", err)
	}
}
