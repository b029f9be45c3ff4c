package conformance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestBackEnds has back ends over AMQP: what they send arrives, and what became of it comes to their receivers.
func TestBackEnds(t *testing.T) {
	beside(t)
	w, _ := withFiles(t)
	o := sendingFrom(t, w)
	for _, tr := range lasting[2:] { // of the service SDK the names are the same
		t.Run("C21 over "+tr.name, func(t *testing.T) {
			for _, id := range []string{"C21", "C22", "C24", "C27", "C28"} {
				covers(t, id, "azure-iothub")
			}
			o := o.in(t)
			d, full := o.Device(hubtest.Contoso, "press+1#'(7)"+tr.name), o.Device(hubtest.Contoso, "full-"+tr.name)
			s := play(t, w, "cloud.js", "service", serviceString(t, w, hub.PolicyService), "TRANSPORT="+tr.name, "ID="+d.ID, "FULL="+full.ID)
			for _, c := range [][2]string{
				{"open"}, {"feedback"}, {"files"}, {"send"}, {"end"}, {"nobody", "DeviceNotFoundError"}, {"too large", "MessageTooLargeError"},
				{"one too many", "DeviceMaximumQueueDepthExceededError"},
			} {
				s.step(c[0], c[1])
			}
			covers(t, "C21", tr.pkg)
			const id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
			device := play(t, w, "commands.js", "hear", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
			v := device.wants("body", "body € \n")
			for path, want := range map[string]any{
				"messageId": id, "correlationId": "corr ü", "type": "text/plain;x=1", "encoding": "utf-8", "ack": "full", "properties.unit": "°C €", "properties.a&b": "=%/+#",
				"properties.empty": "", "to": "/devices/press%2B1%23'(7)" + tr.name + "/messages/devicebound",
			} {
				if v.at(path) != want {
					t.Errorf("%s is %v, want %v, in %v", path, v.at(path), want, v)
				}
			}
			device.wants("body", "end")
			device.wants("done", true)

			records := func() []any {
				t.Helper()
				v := s.wants("type", "application/vnd.microsoft.iothub.feedback.json")
				return list(v, "feedback")
			}
			came := records()
			if len(came) != 1 {
				t.Fatalf("%v", came)
			}
			for key, want := range map[string]any{"originalMessageId": id, "statusCode": "Success", "deviceId": d.ID, "deviceGenerationId": d.Generation} {
				if r := said(came[0].(map[string]any)); r.at(key) != want {
					t.Errorf("feedback has %s %v, want %v", key, r.at(key), want)
				}
			}

			if n, err := o.api.PurgeCommands(t.Context(), full.ID); n != 50 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			purged, batches := 0, 0
			for ; purged < 50; batches++ {
				for _, r := range records() {
					if r := said(r.(map[string]any)); r.at("statusCode") != "Purged" || r.at("deviceId") != full.ID {
						t.Errorf("%v", r)
					}
					purged++
				}
			}
			if batches > 10 {
				t.Errorf("%d records came in %d batches", purged, batches)
			}

			play(t, w, "files.js", "one", deviceString(hubtest.Contoso, d)).step("one", "")
			f := s.wants("type", "application/vnd.microsoft.iothub.filenotification.json")
			if f.at("file.deviceId") != d.ID || f.at("file.blobName") != d.ID+"/small.txt" || f.at("file.blobSizeInBytes") != 11. || !strings.HasPrefix(f.at("file.blobUri").(string), "https://"+hubtest.Contoso+"/uploads/") {
				t.Errorf("%v", f)
			}
			s.goOn()
			s.step("close", "")
		})
	}
	for _, tr := range lasting[2:] {
		t.Run("C05 back ends over "+tr.name, func(t *testing.T) {
			covers(t, "C05", "azure-iothub")
			covers(t, "C07", "azure-iothub")
			o.Device(hubtest.Contoso, "target-"+tr.name)
			with := func(name, policy, wrong string) attempt {
				text := strings.TrimPrefix(serviceString(t, w, policy), "SERVICE=")
				return attempt{Name: name, Device: text, wrong: wrong}
			}
			list := []attempt{
				with("service", hub.PolicyService, ""), with("owner", hub.PolicyOwner, ""), with("device", hub.PolicyDevice, "UnauthorizedError"),
				with("registry", hub.PolicyRegistryRead, "UnauthorizedError"), with("wrong key", hub.PolicyService, "Error"), // all that the SDK leaves of it
			}
			key := "SharedAccessKey="
			at := strings.Index(list[4].Device, key)
			list[4].Device = list[4].Device[:at] + key + strings.Repeat("A", 43) + "="
			text, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			s := play(t, w, "cloud.js", "attempts", "TRANSPORT="+tr.name, "ID=target-"+tr.name, "ATTEMPTS="+string(text))
			for _, a := range list {
				s.step(a.Name, a.wrong)
			}
		})
	}
}
