package hubstore

import (
	"context"
	"encoding/json"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Endpoint is where routes lead.
type Endpoint struct {
	Name     string
	Kind     string
	Settings []byte // JSON; may hold secrets
}

// Route leads messages to endpoints.
type Route struct {
	Name      string
	Source    string
	Condition string
	Endpoints []string
	Enabled   bool
}

// Enrichment adds a property to messages.
type Enrichment struct {
	Name      string // the property's key
	Value     string
	Endpoints []string
}

// Routing is all that says where a hub's messages go, each list by name.
type Routing struct {
	Endpoints   []Endpoint
	Routes      []Route
	Enrichments []Enrichment
}

// Routing reads a hub's endpoints, routes and enrichments.
func (s *Store) Routing(ctx context.Context, hub string) (Routing, error) {
	var out Routing
	err := s.db.View(ctx, func(sql *database.Session) (err error) {
		out, err = readRouting(sql, hub)
		return err
	})
	return out, err
}

// Routing reads a hub's endpoints, routes and enrichments as the transaction sees them.
func (tx *Tx) Routing(hub string) (Routing, error) { return readRouting(tx.sql, hub) }

func readRouting(sql *database.Session, hub string) (Routing, error) {
	var out Routing
	err := sql.Rows(func(scan func(...any) error) error {
		var e Endpoint
		var settings string
		err := scan(&e.Name, &e.Kind, &settings)
		e.Settings = []byte(settings)
		out.Endpoints = append(out.Endpoints, e)
		return err
	}, "SELECT name, kind, settings FROM endpoints WHERE hub = ? ORDER BY name", hub)
	if err != nil {
		return out, err
	}
	err = sql.Rows(func(scan func(...any) error) error {
		var r Route
		var endpoints string
		var enabled int
		if err := scan(&r.Name, &r.Source, &r.Condition, &endpoints, &enabled); err != nil {
			return err
		}
		r.Enabled = enabled != 0
		out.Routes = append(out.Routes, r)
		return names(endpoints, &out.Routes[len(out.Routes)-1].Endpoints)
	}, "SELECT name, source, condition, endpoints, enabled FROM routes WHERE hub = ? ORDER BY name", hub)
	if err != nil {
		return out, err
	}
	err = sql.Rows(func(scan func(...any) error) error {
		var e Enrichment
		var endpoints string
		if err := scan(&e.Name, &e.Value, &endpoints); err != nil {
			return err
		}
		out.Enrichments = append(out.Enrichments, e)
		return names(endpoints, &out.Enrichments[len(out.Enrichments)-1].Endpoints)
	}, "SELECT name, value, endpoints FROM enrichments WHERE hub = ? ORDER BY name", hub)
	return out, err
}

func names(text string, into *[]string) error {
	return fault.Wrap("hubstore.Routing", fault.Internal, json.Unmarshal([]byte(text), into), "a list of endpoints in the database is no JSON")
}

func namesText(list []string) string {
	b, _ := json.Marshal(list) // strings always can be
	return string(b)
}

// SetEndpoint makes an endpoint or changes it.
func (tx *Tx) SetEndpoint(hub string, e Endpoint) error {
	_, err := tx.sql.Exec("INSERT INTO endpoints (hub, name, kind, settings) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (hub, name) DO UPDATE SET kind = excluded.kind, settings = excluded.settings", hub, e.Name, e.Kind, string(e.Settings))
	return err
}

// SetRoute makes a route or changes it.
func (tx *Tx) SetRoute(hub string, r Route) error {
	_, err := tx.sql.Exec("INSERT INTO routes (hub, name, source, condition, endpoints, enabled) VALUES (?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (hub, name) DO UPDATE SET source = excluded.source, condition = excluded.condition, endpoints = excluded.endpoints, enabled = excluded.enabled",
		hub, r.Name, r.Source, r.Condition, namesText(r.Endpoints), bit(r.Enabled))
	return err
}

// SetEnrichment makes an enrichment or changes it.
func (tx *Tx) SetEnrichment(hub string, e Enrichment) error {
	_, err := tx.sql.Exec("INSERT INTO enrichments (hub, name, value, endpoints) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (hub, name) DO UPDATE SET value = excluded.value, endpoints = excluded.endpoints", hub, e.Name, e.Value, namesText(e.Endpoints))
	return err
}

// DeleteEndpoint removes an endpoint with its consumer groups and with how far its readers have come. NotFound when there is none.
func (tx *Tx) DeleteEndpoint(hub, name string) error {
	for _, table := range []string{"cursors", "consumer_groups"} {
		if _, err := tx.sql.Exec("DELETE FROM "+table+" WHERE hub = ? AND endpoint = ?", hub, name); err != nil {
			return err
		}
	}
	return tx.deleteNamed("endpoints", "endpoint", hub, name)
}

// DeleteRoute removes a route. NotFound when there is none.
func (tx *Tx) DeleteRoute(hub, name string) error {
	return tx.deleteNamed("routes", "route", hub, name)
}

// DeleteEnrichment removes an enrichment. NotFound when there is none.
func (tx *Tx) DeleteEnrichment(hub, name string) error {
	return tx.deleteNamed("enrichments", "enrichment", hub, name)
}

func (tx *Tx) deleteNamed(table, noun, hub, name string) error {
	n, err := tx.sql.Exec("DELETE FROM "+table+" WHERE hub = ? AND name = ?", hub, name)
	if err == nil && n == 0 {
		return fault.Newf("hubstore.Delete", fault.NotFound, "the hub has no %s %q", noun, name)
	}
	return err
}
