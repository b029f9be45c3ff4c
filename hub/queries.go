package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// How many results a page of a query has: when nobody says, and at most.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// What the results of a query are (IoT Hub REST: x-ms-item-type).
const (
	KindTwin      = "Twin"      // whole twins
	KindRaw       = "Raw"       // what was selected
	KindDeviceJob = "DeviceJob" // what a job did with a device
)

// Page is a part of a query's results.
type Page struct {
	Kind         string            // one of the above
	Items        []json.RawMessage // objects
	Continuation string            // gets the next page with the same query; empty when this is the last one
}

// Query answers a query in IoT Hub's language, a page at a time: at most limit items, DefaultPage when it is not above 0, MaxPage when it
// is more than that; large twins can make a page shorter. continuation is what the page before gave, empty for the first one. Results
// come by device id; what is written meanwhile is in those pages that come after it. Faults: Invalid and TooLarge, with where the query
// is wrong and what was expected, or for a continuation that is not of this query.
func (h *Hub) Query(ctx context.Context, text string, limit int, continuation string) (Page, error) {
	q, err := query.Parse(text)
	if err == nil {
		err = h.writeWhatIsAsked(ctx, text)
	}
	if err != nil {
		return Page{}, err
	}
	if limit <= 0 {
		limit = DefaultPage
	}
	at := place{Query: h.queryID(q), Left: q.Top}
	if continuation != "" {
		if at, err = readPlace(continuation, at.Query); err != nil {
			return Page{}, err
		}
	}
	limit = min(limit, MaxPage)
	if q.Top > 0 {
		limit = min(limit, at.Left, q.Top)
	}
	out := Page{Kind: KindRaw}
	var next hubstore.Place
	switch {
	case q.Aggregates():
		out.Items, next, err = h.server.store.QueryGroups(ctx, h.id, q, at.After, limit)
	case q.From == query.Jobs:
		out, next, err = h.jobsPage(ctx, q, at.After, limit)
	default:
		out, next, err = h.twinsPage(ctx, q, at.After, limit)
	}
	if fault.KindOf(err) == fault.Exhausted { // too many ask at once
		err = code.With(err, code.Throttled)
	}
	if err != nil {
		return Page{}, err
	}
	if out.Items == nil {
		out.Items = []json.RawMessage{}
	}
	left := q.Top
	if q.Top > 0 {
		left = at.Left - len(out.Items)
	}
	if next != nil && (q.Top == 0 || left > 0) {
		out.Continuation, err = place{at.Query, next, left}.String()
	}
	return out, err
}

func (h *Hub) twinsPage(ctx context.Context, q *query.Query, after hubstore.Place, limit int) (Page, hubstore.Place, error) {
	found, next, err := h.server.store.QueryTwins(ctx, h.id, q, after, limit)
	if err != nil {
		return Page{}, nil, err
	}
	out := Page{Kind: KindTwin, Items: make([]json.RawMessage, 0, len(found))}
	if len(q.Items) > 0 {
		out.Kind = KindRaw
	}
	var waiting map[Name]int
	if len(found) > 0 {
		if waiting, err = h.Depths(ctx, found[0].Device.ID, found[len(found)-1].Device.ID); err != nil {
			return Page{}, nil, err
		}
	}
	for _, f := range found {
		body, err := Twin{Device: h.live(f.Device), Model: f.Twin.Model, Commands: waiting[f.Device.Name()], Document: f.Twin.Document}.JSON()
		if err == nil && len(q.Items) > 0 {
			body, err = selected(q, body)
		}
		if err != nil {
			return Page{}, nil, err
		}
		out.Items = append(out.Items, body)
	}
	return out, next, nil
}

// deviceJob is an item of FROM devices.jobs.
type deviceJob struct {
	DeviceID string          `json:"deviceId"`
	ModuleID string          `json:"moduleId,omitempty"`
	JobID    string          `json:"jobId"`
	JobType  string          `json:"jobType"`
	Status   string          `json:"status"`
	Start    string          `json:"startTimeUtc"`
	End      string          `json:"endTimeUtc"`
	Created  string          `json:"createdDateTimeUtc"`
	Updated  string          `json:"lastUpdatedDateTimeUtc"`
	Outcome  json.RawMessage `json:"outcome,omitempty"`
	Error    json.RawMessage `json:"error,omitempty"`
}

func (h *Hub) jobsPage(ctx context.Context, q *query.Query, after hubstore.Place, limit int) (Page, hubstore.Place, error) {
	found, next, err := h.server.store.QueryJobs(ctx, h.id, q, after, limit)
	if err != nil {
		return Page{}, nil, err
	}
	out := Page{Kind: KindDeviceJob, Items: make([]json.RawMessage, 0, len(found))}
	if len(q.Items) > 0 {
		out.Kind = KindRaw
	}
	for _, f := range found {
		j := deviceJob{
			DeviceID: f.Name.Device, ModuleID: f.Name.Module, JobID: f.Job, JobType: f.Type, Status: f.Status,
			Start: never(f.Started), End: never(f.Ended), Created: never(f.Created), Updated: never(f.Updated),
			Outcome: json.RawMessage(f.Outcome), Error: json.RawMessage(f.Error),
		}
		body, err := json.Marshal(j)
		if err == nil && len(q.Items) > 0 {
			body, err = selected(q, body)
		}
		if err != nil {
			return Page{}, nil, fault.Wrap("hub.Query", fault.Internal, err, "")
		}
		out.Items = append(out.Items, body)
	}
	return out, next, nil
}

// selected makes a row of the columns a query names. What the document lacks is left out.
func selected(q *query.Query, document []byte) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	get := query.Document(doc)
	var row bytes.Buffer
	row.WriteByte('{')
	for _, item := range q.Items {
		p, ok := item.Value.(query.Path)
		if !ok {
			continue
		}
		v, ok := p.Value(get)
		if !ok {
			continue
		}
		name := item.Name
		if len(p.Keys) == 1 && name == p.Keys[0] { // the name as the document has it: SELECT DeviceId gives deviceId
			for k := range doc {
				if strings.EqualFold(k, name) {
					name = k
				}
			}
		}
		if row.Len() > 1 {
			row.WriteByte(',')
		}
		for i, part := range []any{name, v} {
			if i == 1 {
				row.WriteByte(':')
			}
			e := json.NewEncoder(&row)
			e.SetEscapeHTML(false)
			if err := e.Encode(part); err != nil {
				return nil, err
			}
			row.Truncate(row.Len() - 1) // the end of line
		}
	}
	row.WriteByte('}')
	return row.Bytes(), nil
}

// QueryNames calls each with the name of every device, or every module, for which the condition holds, until it fails; * and nothing
// hold for all. The condition is judged by what is stored while it runs. each may take its time and change twins.
func (h *Hub) QueryNames(ctx context.Context, condition string, modules bool, each func(Name) error) error {
	c, err := query.ParseCondition(condition)
	if err == nil {
		err = h.writeWhatIsAsked(ctx, condition)
	}
	if err != nil {
		return err
	}
	return h.server.store.QueryNames(ctx, h.id, c, modules, each)
}

// QueryPlan returns, for people, the SQL that a query becomes and how the database goes about it.
func (h *Hub) QueryPlan(ctx context.Context, text string) (string, error) {
	q, err := query.Parse(text)
	if err != nil {
		return "", err
	}
	statement, plan, err := h.server.store.QueryPlan(ctx, h.id, q)
	return statement + "\n\n" + plan, err
}

// Indexes lists the desired and reported properties that queries find through an index, as properties.reported.firmware; tags they
// always do.
func (h *Hub) Indexes(ctx context.Context) ([]string, error) {
	return h.server.store.Indexes(ctx, h.id)
}

// DeclareIndex has a property of all twins indexed, named as in a query: properties.reported.firmware. It reads every twin once, a second
// or two for 100,000, in which nothing else is written. Declaring again changes nothing. Faults: Invalid, Exhausted.
func (h *Hub) DeclareIndex(ctx context.Context, property string) error {
	p, err := query.ParsePath(property)
	if err != nil {
		return err
	}
	return h.server.store.DeclareIndex(ctx, h.id, p)
}

// DropIndex takes an index away; dropping one that is not there changes nothing.
func (h *Hub) DropIndex(ctx context.Context, property string) error {
	p, err := query.ParsePath(property)
	if err != nil {
		return err
	}
	return h.server.store.DropIndex(ctx, h.id, p)
}

// oftenest is how often a query may have it written down when everybody was active last.
const oftenest = time.Second

// writeWhatIsAsked writes down who is connected before a query that may look for it: only memory knows it exactly. When they were active
// last is as exact as a second, or whoever only reads could have all devices of a hub written again and again.
func (h *Hub) writeWhatIsAsked(ctx context.Context, text string) error {
	text = strings.ToLower(text)
	activity := strings.Contains(text, "lastactivity")
	if !activity && !strings.Contains(text, "connectionstate") {
		return nil
	}
	h.mu.Lock()
	due := h.server.clock.Now().Sub(h.written) >= oftenest
	h.mu.Unlock()
	return h.writeSeen(ctx, activity && due)
}
