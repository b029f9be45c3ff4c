package webhook_test

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/access/webhook"
)

// A receiver that tells the people on duty.
func ExampleVerify() {
	const secret = "isthmus_webhook_…" // from a file
	seen := map[string]bool{}
	http.HandleFunc("POST /hooks/isthmus", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			err = webhook.Verify(secret, r.Header.Get(webhook.SignatureHeader), body, time.Now(), 0)
		}
		var e webhook.Event
		if err != nil || json.Unmarshal(body, &e) != nil {
			http.Error(w, "not from Isthmus", http.StatusForbidden)
			return
		}
		if !seen[e.ID] { // else it was sent again
			seen[e.ID] = true
			log.Println(e.Text)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
