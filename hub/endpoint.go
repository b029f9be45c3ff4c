package hub

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Kinds of endpoints.
const (
	StreamEndpoint  = "stream"  // read as events are
	StorageEndpoint = "storage" // written to a bucket as files of JSON lines
	WebhookEndpoint = "webhook" // posted over HTTPS
)

// Endpoint is where routes lead, beside the built-in one. Each has a stream of events, in which a message is durable before it is
// acknowledged; what goes on to a bucket or a webhook is read from there.
type Endpoint struct {
	Name string `json:"name"`
	Kind string `json:"kind"`

	Bucket       string `json:"bucket,omitempty"`       // storage: the container, in the place where the hub keeps files
	Prefix       string `json:"prefix,omitempty"`       // storage: of every file's name
	BatchSeconds int    `json:"batchSeconds,omitempty"` // storage: a file is written when its first event is so old; 60
	BatchBytes   int    `json:"batchBytes,omitempty"`   // storage: or when it has so many bytes; 10 MiB

	URL       string `json:"url,omitempty"`       // webhook: https
	Key       string `json:"key,omitempty"`       // webhook: base64; signs what is posted. Never shown
	Authority string `json:"authority,omitempty"` // webhook: PEM, trusted instead of this machine's authorities
	Attempts  int    `json:"attempts,omitempty"`  // webhook: how often a message is offered that is refused, before it is put aside; 10
}

// Bounds of an endpoint's numbers.
const (
	minBatchSeconds, maxBatchSeconds = 1, 720 // IoT Hub: storage as a routing endpoint, 60 to 720
	minBatchBytes, maxBatchBytes     = 64 << 10, 64 << 20
	maxAttempts                      = 100
)

// check refuses what cannot work and fills in what was left out.
func (e *Endpoint) check() error {
	op := "hub.PutEndpoint"
	if err := route.CheckName("endpoint", e.Name); err != nil {
		return err
	}
	kept := Endpoint{Name: e.Name, Kind: e.Kind}
	within := func(what string, n *int, standard, least, most int) error {
		if *n == 0 {
			*n = standard
		}
		if *n < least || *n > most {
			return fault.Newf(op, fault.Invalid, "%s of endpoint %s is %d", what, e.Name, *n).Advise("it is a number from %d to %d", least, most)
		}
		return nil
	}
	switch e.Kind {
	case StreamEndpoint:
	case StorageEndpoint:
		if err := within("batchSeconds", &e.BatchSeconds, 60, minBatchSeconds, maxBatchSeconds); err != nil {
			return err
		}
		if err := within("batchBytes", &e.BatchBytes, 10<<20, minBatchBytes, maxBatchBytes); err != nil {
			return err
		}
		if !isContainer(e.Bucket) || len(e.Prefix) > 256 || strings.ContainsFunc(e.Prefix, unicode.IsControl) || strings.HasPrefix(e.Prefix, "/") || strings.Contains(e.Prefix, "..") {
			return fault.Newf(op, fault.Invalid, "the bucket %.64q or the prefix %.64q of endpoint %s cannot be", e.Bucket, e.Prefix, e.Name).
				Advise("a bucket's name has 3 to 63 lower-case letters, digits and hyphens; a prefix is the beginning of a path, such as raw/")
		}
		kept.Bucket, kept.Prefix, kept.BatchSeconds, kept.BatchBytes = e.Bucket, e.Prefix, e.BatchSeconds, e.BatchBytes
	case WebhookEndpoint:
		if err := within("attempts", &e.Attempts, 10, 1, maxAttempts); err != nil {
			return err
		}
		if err := e.checkWebhook(op); err != nil {
			return err
		}
		kept.URL, kept.Key, kept.Authority, kept.Attempts = e.URL, e.Key, e.Authority, e.Attempts
	default:
		return fault.Newf(op, fault.Invalid, "endpoint %s is of kind %.40q", e.Name, e.Kind).Advise("kinds are stream, storage and webhook")
	}
	if *e != kept {
		return fault.Newf(op, fault.Invalid, "endpoint %s of kind %s has a field that belongs to another kind", e.Name, e.Kind).Advise("leave it out")
	}
	return nil
}

// isContainer goes by the rules for containers of blobs (Azure: naming containers).
func isContainer(name string) bool {
	if name == "uploads" { // where devices' files are
		return false
	}
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "--") || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

func (e *Endpoint) checkWebhook(op string) error {
	u, err := url.Parse(e.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(e.URL) > 2048 {
		return fault.Newf(op, fault.Invalid, "the url of endpoint %s is no https address", e.Name).Advise("it reads https://host/path, without user and password")
	}
	if b, err := base64.StdEncoding.DecodeString(e.Key); err != nil || e.Key != "" && (len(b) < 16 || len(b) > 64) {
		return fault.Newf(op, fault.Invalid, "the key of endpoint %s is not base64 of 16 to 64 bytes", e.Name)
	}
	if e.Authority == "" {
		return nil
	}
	rest := []byte(e.Authority)
	if len(rest) > 64<<10 {
		return fault.Newf(op, fault.Invalid, "the authority of endpoint %s is too large", e.Name)
	}
	block, _ := pem.Decode(rest)
	if block == nil {
		return fault.Newf(op, fault.Invalid, "the authority of endpoint %s is no PEM", e.Name).Advise("give the certificate with its BEGIN and END lines")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fault.Newf(op, fault.Invalid, "the authority of endpoint %s is no certificate", e.Name).Because(err)
	}
	return nil
}

// Endpoints returns the endpoints beside the built-in one, with their secrets, for those who forward to them. Do not change the slice.
func (h *Hub) Endpoints() []Endpoint {
	if list := h.endpoints.Load(); list != nil {
		return *list
	}
	return nil
}

// Consumer is the name under which forwarding keeps how far it has come.
const Consumer = "$forward"

// PutEndpoint makes an endpoint or changes it; a webhook's key that is left out stays. What an older endpoint of the same name left in
// its stream is not forwarded by the new one. Conflict when it would change its kind.
func (h *Hub) PutEndpoint(ctx context.Context, e Endpoint, by string) error {
	if err := e.check(); err != nil {
		return err
	}
	stream := h.streamOf(e.Name)
	if err := h.ensureStream(ctx, stream); err != nil {
		return err
	}
	return h.changeRouting(ctx, "endpoint "+e.Name, by, func(tx *hubstore.Tx) error {
		stored, err := tx.Routing(h.id)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(stored.Endpoints, func(o hubstore.Endpoint) bool { return o.Name == e.Name })
		if i < 0 {
			for p := range h.server.events.Partitions(stream) {
				_, next := h.server.events.Bounds(stream, p)
				if err := tx.SetCursor(h.id, hubstore.Cursor{Endpoint: e.Name, Consumer: Consumer, Partition: p, Next: next, Updated: h.server.clock.Now()}); err != nil {
					return err
				}
			}
		} else {
			var old Endpoint
			if err := json.Unmarshal(stored.Endpoints[i].Settings, &old); err != nil {
				return fault.Wrap("hub.PutEndpoint", fault.Internal, err, "")
			}
			if stored.Endpoints[i].Kind != e.Kind {
				return fault.Newf("hub.PutEndpoint", fault.Conflict, "endpoint %s is of kind %s, which cannot change", e.Name, stored.Endpoints[i].Kind).
					Advise("make one of another name, lead the routes there, and delete this one")
			}
			if e.Key == "" {
				e.Key = old.Key
			}
		}
		settings, err := json.Marshal(e)
		if err != nil {
			return fault.Wrap("hub.PutEndpoint", fault.Internal, err, "")
		}
		return tx.SetEndpoint(h.id, hubstore.Endpoint{Name: e.Name, Kind: e.Kind, Settings: settings})
	})
}

// DeleteEndpoint removes an endpoint; what its stream holds stays until it is too old, and is not forwarded any more. Conflict when a
// route or an enrichment names it.
func (h *Hub) DeleteEndpoint(ctx context.Context, name, by string) error {
	return h.changeRouting(ctx, "without endpoint "+shorten(name), by, func(tx *hubstore.Tx) error {
		stored, err := tx.Routing(h.id)
		if err != nil {
			return err
		}
		for _, r := range stored.Routes {
			if slices.Contains(r.Endpoints, name) {
				return fault.Newf("hub.DeleteEndpoint", fault.Conflict, "route %s leads to endpoint %s", r.Name, name).Advise("change or delete the route first")
			}
		}
		for _, e := range stored.Enrichments {
			if slices.Contains(e.Endpoints, name) {
				return fault.Newf("hub.DeleteEndpoint", fault.Conflict, "enrichment %s is for endpoint %s", e.Name, name).Advise("change or delete the enrichment first")
			}
		}
		return tx.DeleteEndpoint(h.id, name)
	})
}

func (h *Hub) ensureStream(ctx context.Context, stream string) error {
	log := h.server.events
	if log.Partitions(stream) > 0 {
		return nil
	}
	err := log.Create(ctx, stream, 0)
	if fault.KindOf(err) == fault.Conflict { // somebody was faster
		err = nil
	}
	return err
}

// Progress is how forwarding to an endpoint goes, over all partitions.
type Progress struct {
	Waiting    int64     `json:"waiting"`              // events that are not delivered yet
	Oldest     time.Time `json:"oldest"`               // when the oldest of them was stored; zero when none waits
	Delivered  int64     `json:"delivered"`            // since the process started
	PutAside   int64     `json:"deadLettered"`         // refused too often, since the process started
	Lost       int64     `json:"lost"`                 // too old for the log before they could be delivered
	Failing    time.Time `json:"failingSince"`         // zero when the last attempt succeeded
	LastError  string    `json:"lastError,omitempty"`  // of the last attempt that failed
	NextTry    time.Time `json:"nextTry"`              // zero when nothing failed
	Duplicates int64     `json:"duplicates,omitempty"` // delivered again and marked so, since the process started
}

// SetProgress is called by whoever forwards to an endpoint.
func (h *Hub) SetProgress(endpoint string, p Progress) { h.progress.Store(endpoint, p) }

// Progress tells how forwarding to an endpoint goes; false for one to which nobody forwards.
func (h *Hub) Progress(endpoint string) (Progress, bool) {
	p, ok := h.progress.Load(endpoint)
	if !ok {
		return Progress{}, false
	}
	return p.(Progress), true //nolint:forcetypeassert // the map holds nothing else
}

// Stream is the events of one endpoint, or of those that could not be delivered to it.
type Stream struct {
	Endpoint string
	hub      *Hub
	name     string
}

// Stream opens the events of an endpoint: "" or "events" is the built-in one, "{endpoint}/deadletter" what an endpoint refused. NotFound
// when the hub has no such endpoint.
func (h *Hub) Stream(endpoint string) (Stream, error) {
	if endpoint == "" {
		endpoint = route.BuiltIn
	}
	if h.hasStream(endpoint) {
		return Stream{endpoint, h, h.streamOf(endpoint)}, nil
	}
	return Stream{}, fault.Newf("hub.Stream", fault.NotFound, "the hub has no endpoint %.80q", endpoint).Advise("GET /isthmus/v1/routing lists them; the built-in one is events")
}

// DeadLetter is the name of the stream of what an endpoint refused.
func DeadLetter(endpoint string) string { return endpoint + "/deadletter" }

// Partitions returns how many partitions the stream has, and makes them when there are none yet.
func (s Stream) Partitions(ctx context.Context) (int, error) {
	err := s.hub.ensureStream(ctx, s.name)
	return s.hub.server.events.Partitions(s.name), err
}

// Bounds returns the oldest sequence number kept in a partition and the next one to be given.
func (s Stream) Bounds(partition int) (first, next int64) {
	return s.hub.server.events.Bounds(s.name, partition)
}

// Events returns up to max events of a partition beginning with sequence number from; none when there are none yet.
func (s Stream) Events(ctx context.Context, partition int, from int64, max int) ([]eventlog.Event, error) {
	return s.hub.server.events.Read(ctx, s.name, partition, from, max)
}

// Wait returns when the partition has the event with sequence number from, or when ctx ends.
func (s Stream) Wait(ctx context.Context, partition int, from int64) error {
	return s.hub.server.events.Wait(ctx, s.name, partition, from)
}

// Append stores an event in the stream and waits until it is durable or ctx ends.
func (s Stream) Append(ctx context.Context, key string, e eventlog.Event) error {
	answer := make(chan error, 1)
	s.hub.server.events.AppendAsync(s.name, key, e, func(_ eventlog.Position, err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fault.New("hub.Append", fault.Timeout, "the event log did not answer in time").Because(ctx.Err())
	}
}
