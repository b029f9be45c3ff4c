package restart

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

const (
	host     = "https://" + processes.Contoso
	version  = "?api-version=2021-04-12"
	blocks   = 6
	blockLen = 20_000
)

// archive is devices that send files in blocks, and the service that hears of them.
type archive struct {
	w *world

	mu    sync.Mutex      // guards the fields below
	said  map[string]bool // files whose device was answered that its upload is done
	heard map[string]bool // files of which a notification came
	ended map[string]bool // and was completed
	files map[string][]byte
}

func (w *world) archive() *archive {
	return &archive{w: w, said: map[string]bool{}, heard: map[string]bool{}, ended: map[string]bool{}, files: map[string][]byte{}}
}

func (a *archive) work(ctx context.Context) {
	var n int
	a.w.useNow(ctx, "files", 1, 20*time.Millisecond, func(ctx context.Context) bool {
		n++
		return a.send(ctx, n)
	})
	a.w.useNow(ctx, "notifications", 1, 20*time.Millisecond, a.hear)
}

// ask repeats a request until it is answered by a hub that can; others than the statuses named are wrong.
func (w *world) ask(ctx context.Context, what, method, url, token string, body []byte, right ...int) (r processes.Reply, ok bool) {
	ok = w.again(ctx, what, func(ctx context.Context) (err error) {
		if r, err = w.web.Ask(ctx, method, url, token, body, "Content-Type", "application/json"); err != nil {
			return fault.New("restart", fault.Unavailable, err.Error())
		}
		for _, s := range right {
			if s == r.Status {
				return nil
			}
		}
		if r.Status == http.StatusServiceUnavailable || r.Status == http.StatusInternalServerError {
			return fault.New("restart", fault.Unavailable, "it is stopping")
		}
		return fault.Newf("restart", fault.Invalid, "%s %s is answered with %d %s", method, strings.SplitN(url, "?", 2)[0], r.Status, r.Body)
	})
	return r, ok
}

// send sends one file of a device of its own: blocks that were acknowledged are not sent again.
func (a *archive) send(ctx context.Context, n int) bool {
	id := fmt.Sprintf("camera-%d", n)
	var d hubclient.Device
	if !a.w.again(ctx, "making "+id, func(ctx context.Context) (err error) {
		d, err = a.w.hub.Create(ctx, hubclient.Device{ID: id})
		if fault.KindOf(err) == fault.Conflict {
			d, err = a.w.hub.Device(ctx, id)
		}
		return err
	}) {
		return false
	}
	token, err := device.Sign(processes.Contoso, id, d.Authentication.Keys.Primary)
	if err != nil {
		a.w.wrongly("%v", err)
		return false
	}
	r, ok := a.w.ask(ctx, "a grant", "POST", host+"/devices/"+id+"/files"+version, token, []byte(`{"blobName":"day/film.bin"}`), 200)
	if !ok {
		return false
	}
	var g struct{ CorrelationID, HostName, ContainerName, BlobName, SASToken string }
	if err := json.Unmarshal(r.Body, &g); err != nil {
		a.w.wrongly("a grant is %s", r.Body)
		return false
	}
	at := "https://" + g.HostName + "/" + g.ContainerName + "/" + g.BlobName + g.SASToken
	var whole []byte
	list := "<BlockList>"
	for i := range blocks {
		b := bytes.Repeat(fmt.Appendf(nil, "%d.%d;", n, i), blockLen/6)
		blockID := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%02d", i*7%blocks))
		whole = append(whole, b...)
		list += "<Latest>" + blockID + "</Latest>"
		if _, ok := a.w.ask(ctx, "a block", "PUT", at+"&comp=block&blockid="+strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(blockID), "", b, 201); !ok {
			return false
		}
	}
	if _, ok := a.w.ask(ctx, "a block list", "PUT", at+"&comp=blocklist", "", []byte(list+"</BlockList>"), 201); !ok {
		return false
	}
	a.mu.Lock()
	a.files[g.BlobName] = whole
	a.mu.Unlock()
	outcome := fmt.Appendf(nil, `{"correlationId":%q,"isSuccess":true,"statusCode":200,"statusDescription":"done"}`, g.CorrelationID)
	if _, ok := a.w.ask(ctx, "an end", "POST", host+"/devices/"+id+"/files/notifications"+version, token, outcome, 204); !ok {
		return false
	}
	a.mu.Lock()
	a.said[g.BlobName] = true
	a.mu.Unlock()
	return true
}

// hear takes one notification.
func (a *archive) hear(ctx context.Context) bool {
	const news = host + "/messages/serviceBound/filenotifications"
	token, err := a.w.owner()
	if err != nil {
		a.w.wrongly("%v", err)
		return false
	}
	r, err := a.w.web.Ask(ctx, "GET", news+version, token, nil)
	if err != nil || r.Status != 200 {
		return false
	}
	var n struct{ BlobName string }
	if err := json.Unmarshal(r.Body, &n); err != nil {
		a.w.wrongly("a notification is %s", r.Body)
		return false
	}
	a.mu.Lock()
	if a.ended[n.BlobName] {
		a.w.wrongly("the notification about %s comes again, and was completed", n.BlobName)
	}
	a.heard[n.BlobName] = true
	a.mu.Unlock()
	lock := strings.Trim(r.Header.Get("ETag"), `"`)
	done, err := a.w.web.Ask(ctx, "DELETE", news+"/"+lock+version, token, nil)
	if err != nil || done.Status != 204 {
		return false // it may come again
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended[n.BlobName] = true
	return true
}

// check reads every file, and waits for the notifications that are still to come.
func (a *archive) check() {
	a.mu.Lock()
	for name, want := range a.files {
		token, err := a.w.owner()
		must(a.w.t, err)
		r, err := a.w.web.Ask(a.w.ctx, "GET", host+"/uploads/"+name, token, nil)
		if err != nil || r.Status != 200 || !bytes.Equal(r.Body, want) {
			a.w.wrongly("file %s: %d, %d bytes of %d, %v", name, r.Status, len(r.Body), len(want), err)
		}
	}
	files, done := len(a.files), len(a.said)
	a.mu.Unlock()
	if err := a.w.until(func() error {
		a.hear(a.w.ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		for name := range a.said {
			if !a.heard[name] {
				return fmt.Errorf("nobody was told of %s", name)
			}
		}
		return nil
	}); err != nil {
		a.w.wrongly("%v", err)
	}
	a.w.t.Logf("%d files came in %d blocks each, %d were said to be done", files, blocks, done)
}
