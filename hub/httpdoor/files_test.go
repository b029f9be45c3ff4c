package httpdoor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

type granted struct{ CorrelationID, HostName, ContainerName, BlobName, SASToken string }

func (g granted) path() string {
	return "/" + g.ContainerName + "/" + strings.ReplaceAll(g.BlobName, " ", "%20") + g.SASToken
}

func TestFilesByTheLetter(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Full: true})
	c := newCaller(t, w)
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	own, service := w.Token(hubtest.Contoso, d), w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	begin := func(name string) granted {
		t.Helper()
		status, h, body := c.call("POST", "/devices/d/files"+version, own, `{"blobName":"`+name+`"}`)
		var g granted
		if err := json.Unmarshal([]byte(body), &g); status != 200 || err != nil || h.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Fatalf("%d %s", status, body)
		}
		return g
	}
	put := func(g granted, content string) {
		t.Helper()
		r, err := http.NewRequest("PUT", "https://"+hubtest.Contoso+g.path(), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-ms-blob-type", "BlockBlob")
		resp, err := c.c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); resp.StatusCode != 201 || err != nil {
			t.Fatalf("%s %s %v", resp.Status, b, err)
		}
	}
	g := begin("a b.txt")
	if g.HostName != hubtest.Contoso || g.ContainerName != "uploads" || g.BlobName != "d/a b.txt" || g.CorrelationID == "" || !strings.HasPrefix(g.SASToken, "?sv=") {
		t.Errorf("granted %+v", g)
	}
	put(g, "in C#'s form")
	done := func(path, body string) (int, string) {
		status, h, b := c.call("POST", "/devices/d/files/notifications"+path+version, own, body)
		if status >= 400 {
			checkEnvelope(t, status, h, b, code.ArgumentInvalid)
		}
		return status, b
	}
	ok := `{"correlationId":"` + g.CorrelationID + `","isSuccess":true,"statusCode":201,"statusDescription":"fine"}`
	for name, text := range map[string][2]string{
		"no id":         {"", `{"isSuccess":true}`},
		"two ids":       {"/x", ok},
		"a made-up id":  {"/x", `{"isSuccess":true}`},
		"a made-up id2": {"", strings.Replace(ok, g.CorrelationID, strings.Repeat("A", 43), 1)},
	} {
		if status, b := done(text[0], text[1]); status != 400 {
			t.Errorf("%s: %d %s", name, status, b)
		}
	}
	if status, h, b := c.call("POST", "/devices/other/files/notifications"+version, w.Token(hubtest.Contoso, other), ok); status != 400 {
		t.Errorf("another device ends it: %d %v %s", status, h, b)
	}
	if status, b := done("", ok); status != 204 || b != "" {
		t.Errorf("%d %s", status, b)
	}
	g = begin("node")
	put(g, "in Node's form")
	for _, status := range []string{`""`, "201"} { // the second time nothing happens
		if status, b := done("/"+g.CorrelationID, `{"isSuccess":true,"statusCode":`+status+`,"statusDescription":null}`); status != 204 {
			t.Errorf("%d %s", status, b)
		}
	}

	const news = "/messages/ServiceBound/FileNotifications"
	status, h, body := c.call("GET", news+version, service, "")
	if status != 200 || !strings.Contains(body, `"blobName":"d/a b.txt"`) || h.Get("Content-Type") != "application/vnd.microsoft.iothub.filenotification.json" {
		t.Fatalf("%d %v %s", status, h, body)
	}
	lock := strings.Trim(h.Get("ETag"), `"`)
	if status, _, b := c.call("POST", news+"/"+lock+"/abandon"+version, service, ""); status != 204 {
		t.Errorf("%d %s", status, b)
	}
	status, h, body = c.call("DELETE", news+"/"+lock+version, service, "")
	checkEnvelope(t, status, h, body, code.MessageLockLost)
	for _, name := range []string{"d/a b.txt", "d/node"} {
		status, h, body := c.call("GET", news+version, service, "")
		if status != 200 || !strings.Contains(body, `"blobName":"`+name+`"`) {
			t.Errorf("%d %s", status, body)
		}
		if status, _, b := c.call("DELETE", news+"/"+strings.Trim(h.Get("ETag"), `"`)+version, service, ""); status != 204 {
			t.Errorf("%d %s", status, b)
		}
	}
	if status, _, b := c.call("GET", news+version, service, ""); status != 204 || b != "" {
		t.Errorf("%d %s", status, b)
	}

	for i := range 10 {
		begin(fmt.Sprint("open-", i))
	}
	status, h, body = c.call("POST", "/devices/d/files"+version, own, `{"blobName":"one more"}`)
	checkEnvelope(t, status, h, body, code.ActiveUploadsExceeded)
	status, h, body = c.call("POST", "/devices/other/files"+version, w.Token(hubtest.Contoso, other), `{"blobName":"../d/x"}`)
	checkEnvelope(t, status, h, body, code.ArgumentInvalid)
	status, h, body = c.call("POST", "/devices/other/files"+version, w.Token(hubtest.Contoso, other), `{"blobName":"x`)
	checkEnvelope(t, status, h, body, code.FormatError)
}

func TestSettingsAndLinksOfFiles(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Full: true})
	c := newCaller(t, w)
	service, owner := w.ServiceToken(hubtest.Contoso, hub.PolicyService), w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	const path = "/isthmus/v1/files/settings"
	if status, _, b := c.call("GET", path, service, ""); status != 200 || b != `{"notifications":true,"grantSeconds":3600,"notificationTtlSeconds":3600,"lockSeconds":60,"maxDeliveries":100}` {
		t.Errorf("%d %s", status, b)
	}
	status, h, b := c.call("PATCH", path, service, `{"lockSeconds":30}`)
	checkEnvelope(t, status, h, b, code.UnauthorizedAccess)
	if status, _, b := c.call("PATCH", path, owner, `{"lockSeconds":30,"notifications":false}`); status != 200 || !strings.Contains(b, `"notifications":false`) || !strings.Contains(b, `"lockSeconds":30`) {
		t.Errorf("%d %s", status, b)
	}
	status, h, b = c.call("PATCH", path, owner, `{"lockSecond":30}`)
	checkEnvelope(t, status, h, b, code.ArgumentInvalid)
	status, h, b = c.call("POST", "/isthmus/v1/files/links", service, `{"blobName":"d/nothing"}`)
	checkEnvelope(t, status, h, b, code.NotFound)
	// What jobs export holds the keys of devices.
	readWrite := w.ServiceToken(hubtest.Contoso, hub.PolicyRegistryReadWrite)
	const exported = "~transfers/devices.txt"
	status, h, b = c.call("POST", "/isthmus/v1/files/links", service, `{"blobName":"`+exported+`"}`)
	checkEnvelope(t, status, h, b, code.UnauthorizedAccess)
	status, h, b = c.call("POST", "/isthmus/v1/files/links", owner, `{"blobName":"`+exported+`"}`)
	checkEnvelope(t, status, h, b, code.NotFound)
	for _, method := range []string{"GET", "DELETE"} {
		for token, want := range map[string]int{service: 403, readWrite: 404} {
			for _, path := range []string{"/uploads/~transfers/devices.txt", "/Uploads/%7Etransfers%2Fdevices.txt"} {
				if status, h, _ := c.call(method, path, token, ""); status != want {
					t.Errorf("%s %s: %d %s", method, path, status, h.Get("x-ms-error-code"))
				}
			}
		}
	}
	// On the local socket the hub's own name stands in the link, whatever the request's host was.
	local := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.Admin)
	}}}
	defer local.CloseIdleConnections()
	resp, err := local.Post("http://hub/isthmus/v1/files/links?hub="+hubtest.Contoso, "", strings.NewReader(`{"blobName":"../x"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != 400 || err != nil {
		t.Errorf("%s %s", resp.Status, b)
	}
}

func TestAHubWithoutFiles(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	d := w.Device(hubtest.Contoso, "d")
	status, h, b := c.call("POST", "/devices/d/files"+version, w.Token(hubtest.Contoso, d), `{"blobName":"x"}`)
	checkEnvelope(t, status, h, b, code.NotFound)
	status, h, b = c.call("GET", "/uploads/d/x", w.ServiceToken(hubtest.Contoso, hub.PolicyService), "")
	checkEnvelope(t, status, h, b, code.NotFound)
}
