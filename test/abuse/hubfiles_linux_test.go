package abuse

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

// grant asks for an upload as a device does.
func (s *site) grant(c device.Config, name string) (r processes.Reply, url, correlation string) {
	s.t.Helper()
	token, err := device.Sign(processes.Contoso, c.ID, c.Key)
	must(s.t, err)
	body, err := json.Marshal(map[string]string{"blobName": name})
	must(s.t, err)
	r = s.ask("POST", contoso+"/devices/"+c.ID+"/files"+v2021, token, string(body))
	var g struct{ CorrelationID, HostName, ContainerName, BlobName, SASToken string }
	if r.Status == 200 {
		must(s.t, json.Unmarshal(r.Body, &g))
	}
	return r, "https://" + g.HostName + "/" + g.ContainerName + "/" + g.BlobName + g.SASToken, g.CorrelationID
}

// block is the address of a block of an upload.
func block(at string, n int) string {
	id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", n))
	return at + "&comp=block&blockid=" + strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(id)
}

// dripping is a body that comes a byte now and then, until ctx ends.
type dripping struct {
	ctx   context.Context //nolint:containedctx // of one request
	every time.Duration
}

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.every):
		p[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, errors.New("enough")
	}
}

// Names that lead elsewhere are refused, blocks without end and bodies that hardly come are bounded, and nothing of what was not finished is
// a file.
func TestHostileUploads(t *testing.T) {
	s := startHub(t, "--max-file", "1000000")
	sly := s.create("sly")
	other := s.create("other")
	for _, name := range []string{
		"", "../calm/x", "a/../../x", "..", ".", "a//b", "/etc/passwd", "a\\..\\x", "a\x00b", "a\nb", strings.Repeat("x", 2_000), "a/./b", "x.", "\xff",
	} {
		if r, _, _ := s.grant(sly, name); r.Status != 400 {
			t.Errorf("a grant for %.40q: %d %.200s", name, r.Status, r.Body)
		}
	}
	r, at, _ := s.grant(sly, "logs/%2e%2e/%2F..%2f..%2fetc/passwd") // a name like any other
	if r.Status != 200 {
		t.Errorf("a grant for a strange name: %d %s", r.Status, r.Body)
	}
	path, query, _ := strings.Cut(at, "?")
	for name, u := range map[string]string{
		"another blob":                     strings.Replace(path, "sly/", "other/", 1) + "?" + query,
		"another blob, a step up":          path + "/../../other/x?" + query,
		"another blob, encoded":            path + "%2F..%2Fx?" + query,
		"another container":                strings.Replace(path, "/uploads/", "/secrets/", 1) + "?" + query,
		"other rights":                     path + "?" + strings.Replace(query, "sp=cw", "sp=rwdl", 1),
		"a later end":                      path + "?" + strings.Replace(query, "se=20", "se=21", 1),
		"half a signature":                 path + "?" + query[:len(query)-10],
		"reading":                          "GET " + at,
		"deleting":                         "DELETE " + at,
		"an operation that is not for it":  at + "&comp=lease",
		"a parameter of 60 kB":             at + "&x=" + strings.Repeat("y", 60_000),
		"the same parameter again":         at + "&sig=AAAA",
		"a block of no length in its name": at + "&comp=block&blockid=",
	} {
		method := "PUT"
		if m, rest, ok := strings.Cut(u, " "); ok {
			method, u = m, rest
		}
		res, err := s.web.Ask(t.Context(), method, u, "", []byte("x"), "x-ms-blob-type", "BlockBlob")
		if err != nil || res.Status/100 != 4 {
			t.Errorf("%s: %d %.200s, %v", name, res.Status, res.Body, err)
		}
	}
	for i := range 12 {
		if r, _, _ := s.grant(other, fmt.Sprintf("f%d", i)); (r.Status == 200) != (i < 10) || i >= 10 && (r.Status != 403 || !strings.Contains(string(r.Body), "uploads that are not done")) {
			t.Errorf("upload %d: %d %s", i, r.Status, r.Body)
		}
	}

	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var taken, refused, slow atomic.Int64
	flood := s.create("flood")
	_, at, _ = s.grant(flood, "blocks")
	var number atomic.Int64
	for range 8 { // blocks of a few bytes, as many as can be
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := s.web.Ask(ctx, "PUT", block(at, int(number.Add(1))), "", []byte("small"))
				switch {
				case ctx.Err() != nil:
				case err != nil:
					t.Error(err)
				case r.Status == 201:
					taken.Add(1)
				default:
					refused.Add(1)
				}
			}
		})
	}
	heavy := s.create("heavy")
	_, large, _ := s.grant(heavy, "large")
	all.Go(func() { // more than a file may have
		for i := 0; ctx.Err() == nil; i++ {
			r, err := s.web.Ask(ctx, "PUT", block(large, i), "", make([]byte, 400_000))
			if ctx.Err() == nil && (err != nil || (r.Status != 201) != (i >= 3)) {
				t.Errorf("block %d of 400 kB of a file that may have 1 MB: %d %.200s, %v", i, r.Status, r.Body, err)
			}
			if i > 3 {
				return
			}
		}
	})
	for i := range 100 { // bodies that hardly come
		all.Go(func() {
			c, stop := context.WithTimeout(ctx, patient)
			defer stop()
			r, err := http.NewRequestWithContext(c, "PUT", block(large, 1000+i), dripping{c, 200 * time.Millisecond})
			if err != nil {
				t.Error(err)
				return
			}
			r.ContentLength = 100_000
			res, err := s.web.Do(r)
			if err != nil {
				return
			}
			slow.Add(1)
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		})
	}
	<-time.After(time.Duration(more(3, 90)) * time.Second)
	o.fine("beside hostile uploads", 10)
	cancel()
	all.Wait()
	t.Logf("%d small blocks were taken, %d refused; %d slow bodies were answered", taken.Load(), refused.Load(), slow.Load())
	if taken.Load() == 0 {
		t.Error("no block was taken")
	}
	list := "<BlockList>" + strings.Repeat("<Latest>MDAwMDAx</Latest>", 50_001) + "</BlockList>"
	if r := s.ask("PUT", at+"&comp=blocklist", "", list); r.Status/100 != 4 {
		t.Errorf("a list of 50,001 blocks: %d %.200s", r.Status, r.Body)
	}
	for _, bomb := range []string{
		"<BlockList>" + strings.Repeat("<a>", 100_000), `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><BlockList><Latest>&b;</Latest></BlockList>`,
		"<BlockList><Latest>" + strings.Repeat("A", 1<<20) + "</Latest></BlockList>", "", "{}",
	} {
		if r := s.ask("PUT", at+"&comp=blocklist", "", bomb); r.Status/100 != 4 {
			t.Errorf("a list that is none, %.60q: %d %.200s", bomb, r.Status, r.Body)
		}
	}
	memory().within(t, 96)
	o.stop()
	s.end()
	files := 0
	err := filepath.WalkDir(filepath.Join(s.hub.DataDir, "files", "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) || files > 0 {
		t.Errorf("%d files are there that nobody finished, %v", files, err)
	}
	if n := len(s.lines()); n > 120 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
	if bytes.Contains([]byte(s.Log()), []byte("sig=")) {
		t.Error("the log holds a signature")
	}
}
