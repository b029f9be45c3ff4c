package httpdoor_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// Cloud-to-device messages from the API that sends them to the feedback about them, for a device and for a module.
func TestCommandsByTheLetter(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c, h := newCaller(t, w), w.Hub(hubtest.Contoso)
	settings := h.CommandSettings()
	settings.FeedbackDelay = 0
	if err := h.SetCommandSettings(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	token := w.Token(hubtest.Contoso, w.Device(hubtest.Contoso, "d"))
	service := w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	owner := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	send := func(body string, status int, holds string) {
		t.Helper()
		if got, _, text := c.call("POST", "/isthmus/v1/devices/d/messages", service, body); got != status || !strings.Contains(text, holds) {
			t.Errorf("%s: %d %s", body, got, text)
		}
	}
	send(`{"body":"x","bodyBase64":"eA=="}`, 400, "both given")
	send(`{"bodyBase64":"!"}`, 400, "not base64")
	send(`{"body":"x","ack":"perhaps"}`, 400, "ArgumentInvalid")
	send(`{"body":"`+strings.Repeat("x", 70<<10)+`"}`, 413, "MessageTooLarge")
	send(`{`, 400, "IotHubFormatError")
	if status, _, text := c.call("POST", "/isthmus/v1/devices/nobody/messages", service, `{"body":"x"}`); status != 404 || !strings.Contains(text, "DeviceNotFound") {
		t.Errorf("%d %s", status, text)
	}
	send(`{"messageId":"m1","correlationId":"c1","userId":"u1","contentType":"text/plain","contentEncoding":"utf-8","ack":"Full","properties":{"Unit":"°C","line\nfeed":"a\r\nX: y","€":"€"},"bodyBase64":"AAH/"}`, 201, `"messageId":"m1"`)
	send(`{"messageId":"m2","ack":"full","body":"two"}`, 201, "sequenceNumber")

	status, hd, body := c.call("GET", "/devices/d/messages/devicebound"+version, token, "", "iothub-messagelocktimeout", "30")
	if status != 200 || body != "\x00\x01\xff" {
		t.Fatalf("%d %q %v", status, body, hd)
	}
	for name, want := range map[string]string{
		"iothub-messageid": "m1", "iothub-correlationid": "c1", "iothub-userid": "u1", "iothub-to": "/devices/d/messages/devicebound", "iothub-ack": "full",
		"iothub-contenttype": "text/plain", "iothub-contentencoding": "utf-8", "iothub-deliverycount": "0", "iothub-sequencenumber": "1", "Content-Type": "text/plain",
		"iothub-app-Unit": "\xb0C", // ISO 8859-1, as SDKs read headers
	} {
		if got := hd.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"iothub-enqueuedtime", "iothub-expiry"} {
		if _, err := http.ParseTime(strings.Replace(hd.Get(name), "UTC", "GMT", 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hd.Get("X") != "" {
		t.Error("a property made a header of its own")
	}
	lock := strings.Trim(hd.Get("ETag"), `"`)
	settle := func(method, path string, status int, code string, headers ...string) {
		t.Helper()
		got, hd, text := c.call(method, "/devices/d/messages/devicebound/"+path, token, "", headers...)
		if got != status || hd.Get("iothub-errorcode") != code {
			t.Errorf("%s %s: %d %s", method, path, got, text)
		}
	}
	settle("DELETE", lock+version, 412, "DeviceMessageLockLost", "If-Match", "another")
	settle("POST", lock+"/abandon"+version, 204, "", "If-Match", lock)
	settle("POST", lock+"/abandon"+version, 412, "DeviceMessageLockLost", "If-Match", lock)
	_, hd, _ = c.call("GET", "/devices/d/messages/devicebound"+version, token, "")
	if hd.Get("iothub-messageid") != "m1" || hd.Get("iothub-deliverycount") != "1" {
		t.Errorf("%v", hd)
	}
	settle("DELETE", strings.Trim(hd.Get("ETag"), `"`)+version+"&reject", 204, "")
	_, hd, _ = c.call("GET", "/devices/d/messages/devicebound"+version, token, "")
	settle("DELETE", strings.Trim(hd.Get("ETag"), `"`)+version, 204, "", "If-Match", hd.Get("ETag"))
	if status, _, body := c.call("GET", "/devices/d/messages/devicebound"+version, token, ""); status != 204 || body != "" {
		t.Errorf("%d %s", status, body)
	}
	for _, wrong := range []string{"x", "0", "-1", "1000000"} {
		if status, _, body := c.call("GET", "/devices/d/messages/devicebound"+version, token, "", "iothub-messagelocktimeout", wrong); status != 400 {
			t.Errorf("%s: %d %s", wrong, status, body)
		}
	}

	status, hd, body = c.call("GET", "/messages/serviceBound/feedback"+version, service, "")
	if status != 200 || hd.Get("Content-Type") != "application/vnd.microsoft.iothub.feedback.json" || !strings.Contains(body, `"originalMessageId":"m1"`) ||
		!strings.Contains(body, `"statusCode":"Rejected"`) || !strings.Contains(body, `"statusCode":"Success"`) {
		t.Fatalf("%d %v %s", status, hd, body)
	}
	feedback := "/messages/serviceBound/feedback/" + strings.Trim(hd.Get("ETag"), `"`)
	if status, _, body := c.call("POST", feedback+"/abandon"+version, service, ""); status != 204 {
		t.Errorf("%d %s", status, body)
	}
	_, hd, _ = c.call("GET", "/messages/serviceBound/feedback"+version, service, "")
	feedback = "/messages/serviceBound/feedback/" + strings.Trim(hd.Get("ETag"), `"`)
	for _, want := range []int{204, 412} {
		if status, _, body := c.call("DELETE", feedback+version, service, ""); status != want {
			t.Errorf("%d %s", status, body)
		}
	}
	if status, _, body := c.call("GET", "/messages/serviceBound/feedback"+version, service, ""); status != 204 {
		t.Errorf("%d %s", status, body)
	}

	for range hub.MaxQueue {
		send(`{"body":"x"}`, 201, "")
	}
	send(`{"body":"x"}`, 403, "DeviceMaximumQueueDepthExceeded")
	for path, want := range map[string]string{"/devices/d": `"cloudToDeviceMessageCount":50`, "/devices": `"cloudToDeviceMessageCount":50`, "/twins/d": `"cloudToDeviceMessageCount":50`} {
		if _, _, body := c.call("GET", path+version, owner, ""); !strings.Contains(body, want) {
			t.Errorf("%s: %s", path, body)
		}
	}
	if status, _, body := c.call("DELETE", "/devices/d/commands"+version, service, ""); status != 200 || body != `{"totalMessagesPurged":50,"deviceId":"d","moduleId":null}` {
		t.Errorf("%d %s", status, body)
	}
}

// raw sends requests as they are written, on one connection, and returns the answers' status lines.
func raw(t *testing.T, w *hubtest.World, answers int, text string) []int {
	t.Helper()
	c, err := w.Dial(w.HTTPS, nil, hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	in, out := bufio.NewReader(c), []int{}
	for range answers {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		out = append(out, r.StatusCode)
	}
	return out
}

// The names of properties keep their case, though they are names of headers.
func TestCaseOfProperties(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	token := w.Token(hubtest.Contoso, w.Device(hubtest.Contoso, "d"))
	request := func(headers, body string) string {
		return "POST /devices/d/messages/events" + version + " HTTP/1.1\r\nHost: " + hubtest.Contoso + "\r\nAuthorization: " + token + "\r\n" + headers +
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	// One after the other on one connection, with a body that looks like a header, and a head longer than a buffer.
	long := "X-Padding: " + strings.Repeat("x", 5000) + "\r\n"
	c, err := w.Dial(w.HTTPS, nil, hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, r := range []string{
		request("iothub-app-lineNo: 1\r\nIOTHUB-APP-Unit: \xb0C\r\niotHub-App-a: 1\r\niothub-app-A:  2 \r\nIoTHub-MessageId: m\r\n", "\r\niothub-app-LINENO: 9\r\n"),
		request(long+"iothub-app-LineNO: 2\r\n", "x"),
		request("iothub-app-utf8: \u00b0C\r\niothub-app-: nothing\r\n", "x"),
	} {
		if _, err := io.WriteString(c, r); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.StatusCode != 204 {
			t.Fatalf("%v %v", answer, err)
		}
		_ = answer.Body.Close()
	}
	events := w.Events(hubtest.Contoso, 3)
	for i, want := range []map[string]string{{"lineNo": "1", "Unit": "°C", "a": "1", "A": "2"}, {"LineNO": "2"}, {"utf8": "°C"}} {
		if !maps.Equal(events[i].Properties, want) {
			t.Errorf("%v, want %v", events[i].Properties, want)
		}
	}
	if events[0].System["message-id"] != "m" {
		t.Errorf("%v", events[0].System)
	}
	// Requests sent without waiting for answers: nothing is lost but the case.
	two := request("iothub-app-One: 1\r\n", "x") + request("iothub-app-Two: 2\r\n", "y")
	if got := raw(t, w, 2, two); got[0] != 204 || got[1] != 204 {
		t.Fatal(got)
	}
	for _, e := range w.Events(hubtest.Contoso, 5)[3:] {
		for key := range e.Properties {
			if !strings.EqualFold(key, "one") && !strings.EqualFold(key, "two") {
				t.Errorf("%v", e.Properties)
			}
		}
	}
}
