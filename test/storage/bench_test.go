package storage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/storage/storagetest"
)

// The account that every Azurite has (Azurite: README, default storage account).
const azuriteKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

// azurite runs Microsoft's emulator, with its files on the disk, until the benchmark ends.
func azurite(b *testing.B) string {
	b.Helper()
	ctx, kill := context.WithCancel(context.Background())
	dir := b.TempDir()
	c := exec.CommandContext(ctx, "node", filepath.Join(modules, "azurite/dist/src/blob/main.js"), "--location", dir, "--blobHost", "127.0.0.1", "--blobPort", "0",
		"--skipApiVersionCheck", "--disableTelemetry", "--silent")
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		kill()
		_ = c.Wait() // it was killed
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, at, ok := strings.Cut(lines.Text(), "successfully listens on "); ok {
			go func() {
				for lines.Scan() { //nolint:revive // so that it never waits for somebody to listen
				}
			}()
			return "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + azuriteKey + ";BlobEndpoint=" + strings.TrimSpace(at) + "/devstoreaccount1;"
		}
	}
	b.Fatal("Azurite does not say where it listens")
	return ""
}

// ours is a blob service without TLS, as Azurite is.
func ours(b *testing.B) string {
	b.Helper()
	w := storagetest.Start(b, storagetest.Options{})
	srv := httptest.NewServer(w.Door)
	b.Cleanup(srv.Close)
	return strings.Replace(w.ConnectionString(), "BlobEndpoint="+w.HTTP.URL, "BlobEndpoint="+srv.URL, 1)
}

// BenchmarkBesideAzurite does the same with azblob against both.
func BenchmarkBesideAzurite(b *testing.B) {
	big := make([]byte, 32<<20)
	_, _ = rand.Read(big)
	small := big[:1024]
	for _, s := range []struct {
		name  string
		start func(*testing.B) string
	}{{"isthmus", ours}, {"azurite", azurite}} {
		var n atomic.Int64
		client := func(b *testing.B) *azblob.Client {
			b.Helper()
			c, err := azblob.NewClientFromConnectionString(s.start(b), &azblob.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}})
			if err == nil {
				_, err = c.CreateContainer(b.Context(), "bench", nil)
			}
			if err != nil {
				b.Fatal(err)
			}
			return c
		}
		// each runs the requests of 16 workers.
		each := func(b *testing.B, do func(i int64) error) {
			b.Helper()
			var all errgroup.Group
			all.SetLimit(16)
			for range b.N {
				i := n.Add(1)
				all.Go(func() error { return do(i) })
			}
			if err := all.Wait(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blobs/s")
		}
		b.Run("upload/"+s.name, func(b *testing.B) {
			c := client(b)
			b.SetBytes(int64(len(big)))
			b.ResetTimer()
			for range b.N {
				if _, err := c.UploadStream(b.Context(), "bench", "big", bytes.NewReader(big), &azblob.UploadStreamOptions{BlockSize: 4 << 20, Concurrency: 4}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("download/"+s.name, func(b *testing.B) {
			c := client(b)
			if _, err := c.UploadBuffer(b.Context(), "bench", "big", big, nil); err != nil {
				b.Fatal(err)
			}
			got := make([]byte, len(big))
			b.SetBytes(int64(len(big)))
			b.ResetTimer()
			for range b.N {
				if _, err := c.DownloadBuffer(b.Context(), "bench", "big", got, &azblob.DownloadBufferOptions{BlockSize: 4 << 20, Concurrency: 4}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("put-1KiB/"+s.name, func(b *testing.B) {
			c := client(b)
			b.ResetTimer()
			each(b, func(i int64) error {
				_, err := c.UploadBuffer(b.Context(), "bench", fmt.Sprint(i), small, nil)
				return err
			})
		})
		b.Run("get-1KiB/"+s.name, func(b *testing.B) {
			c := client(b)
			if _, err := c.UploadBuffer(b.Context(), "bench", "one", small, nil); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			each(b, func(int64) error {
				r, err := c.DownloadStream(b.Context(), "bench", "one", nil)
				if err != nil {
					return err
				}
				defer r.Body.Close()
				_, err = io.Copy(io.Discard, r.Body)
				return err
			})
		})
	}
}
