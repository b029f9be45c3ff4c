package migration

import (
	"context"
	"slices"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/parity"
)

func (r *run) bringSettings(ctx context.Context) error {
	for _, h := range r.settings {
		s := parity.SettingsOf(h)
		if s.Commands != (hubclient.CommandSettings{}) {
			if err := r.settle(ctx, Settings, "messages to devices", func(ctx context.Context) (state, error) {
				now, err := r.hub.CommandSettings(ctx)
				return state{there: true, same: covers(now, s.Commands), change: func(ctx context.Context) error {
					_, err := r.hub.SetCommandSettings(ctx, s.Commands)
					return err
				}}, err
			}); err != nil {
				return err
			}
		}
		if s.Files != (hubclient.FileSettings{}) {
			if err := r.settle(ctx, Settings, "files from devices", func(ctx context.Context) (state, error) {
				now, err := r.hub.FileSettings(ctx)
				return state{there: true, same: covers(now, s.Files), change: func(ctx context.Context) error {
					_, err := r.hub.SetFileSettings(ctx, s.Files)
					return err
				}}, err
			}); err != nil {
				return err
			}
		}
		if s.Fallback != nil {
			if err := r.settle(ctx, Settings, "the fallback route", func(ctx context.Context) (state, error) {
				now, err := r.hub.Routing(ctx)
				return state{there: true, same: now.Fallback == *s.Fallback, change: func(ctx context.Context) error { return r.hub.SetFallback(ctx, *s.Fallback) }}, err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) bringRouting(ctx context.Context) error {
	for _, h := range r.settings {
		s := parity.SettingsOf(h)
		if len(s.Endpoints)+len(s.Routes)+len(s.Enrichments) == 0 {
			continue
		}
		now, err := r.hub.Routing(ctx)
		if err != nil {
			return err
		}
		for _, e := range s.Endpoints {
			there, same := find(now.Endpoints, func(o hubclient.Endpoint) bool { return o.Name == e.Name }, func(o hubclient.Endpoint) bool {
				return o.Kind == e.Kind && o.Bucket == e.Bucket && (e.BatchSeconds == 0 || o.BatchSeconds == e.BatchSeconds) && (e.BatchBytes == 0 || o.BatchBytes == e.BatchBytes)
			})
			if err := r.put(ctx, Routing, "endpoint "+e.Name, there, same, func(ctx context.Context) error {
				_, err := r.hub.PutEndpoint(ctx, e)
				return err
			}); err != nil {
				return err
			}
		}
		for _, one := range s.Routes {
			there, same := find(now.Routes, func(o hubclient.Route) bool { return o.Name == one.Name }, func(o hubclient.Route) bool {
				return o.Source == one.Source && o.Condition == one.Condition && o.Enabled == one.Enabled && slices.Equal(o.Endpoints, one.Endpoints)
			})
			if err := r.put(ctx, Routing, "route "+one.Name, there, same, func(ctx context.Context) error {
				_, err := r.hub.PutRoute(ctx, one)
				return err
			}); err != nil {
				return err
			}
		}
		for _, e := range s.Enrichments {
			there, same := find(now.Enrichments, func(o hubclient.Enrichment) bool { return o.Key == e.Key }, func(o hubclient.Enrichment) bool {
				return o.Value == e.Value && slices.Equal(o.Endpoints, e.Endpoints)
			})
			if err := r.put(ctx, Routing, "enrichment "+e.Key, there, same, func(ctx context.Context) error {
				_, err := r.hub.PutEnrichment(ctx, e)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// put is settle for what was looked up already.
func (r *run) put(ctx context.Context, part Part, name string, there, same bool, change func(context.Context) error) error {
	return r.settle(ctx, part, name, func(context.Context) (state, error) { return state{there, same, change}, nil })
}

// find tells whether a list has something, and whether that is as it is to be.
func find[T any](list []T, is, alike func(T) bool) (there, same bool) {
	i := slices.IndexFunc(list, is)
	return i >= 0, i >= 0 && alike(list[i])
}

func (r *run) bringGroups(ctx context.Context) error {
	there := map[string][]hubclient.ConsumerGroup{}
	for _, g := range r.groups {
		endpoint := g.Endpoint
		if endpoint == "events" {
			endpoint = ""
		}
		if g.Name == "$Default" {
			continue
		}
		list, known := there[endpoint]
		if !known {
			var err error
			if list, err = r.hub.ConsumerGroups(ctx, endpoint); fatal(err) {
				return err
			}
			there[endpoint] = list
		}
		has := slices.ContainsFunc(list, func(o hubclient.ConsumerGroup) bool { return o.Name == g.Name })
		if err := r.put(ctx, Groups, g.Name, has, true, func(ctx context.Context) error {
			made, err := r.hub.CreateConsumerGroup(ctx, endpoint, g.Name)
			if err == nil {
				there[endpoint] = append(there[endpoint], made)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
