package migration

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/parity"
)

func (r *run) bringAuthorities(ctx context.Context) error {
	var there []hubclient.Authority
	for n, a := range r.Plan.authorities {
		if a.Provisioning {
			continue
		}
		if n == 0 || there == nil {
			var err error
			if there, err = r.hub.Authorities(ctx); err != nil {
				return err
			}
		}
		text, err := a.PEM()
		if err != nil {
			if err := r.failed(Authorities, a.Name, err); err != nil {
				return err
			}
			continue
		}
		has, same := find(there, func(o hubclient.Authority) bool { return o.Name == a.Name }, func(o hubclient.Authority) bool {
			return strings.TrimSpace(o.Certificate) == strings.TrimSpace(text) && (o.Verified || !a.Verified)
		})
		if err := r.put(ctx, Authorities, a.Name, has, same, func(ctx context.Context) error {
			made, err := r.hub.AddAuthority(ctx, a.Name, text, a.Verified)
			there = append(there, made)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) bringConfigurations(ctx context.Context) error {
	for _, c := range r.Plan.configurations {
		wanted, err := configurationOf(c)
		if err != nil {
			if err := r.failed(Configurations, c.ID, err); err != nil {
				return err
			}
			continue
		}
		if err := r.settle(ctx, Configurations, c.ID, func(ctx context.Context) (state, error) { return r.lookAt(ctx, wanted) }); err != nil {
			return err
		}
	}
	return nil
}

// configurationOf is the configuration as a client takes it.
func configurationOf(c *azureexport.Configuration) (hubclient.Configuration, error) {
	out := hubclient.Configuration{ID: c.ID, Labels: c.Labels, Target: c.Target, Priority: c.Priority}
	if len(c.Metrics.Queries) > 0 {
		out.Metrics = &hubclient.Metrics{Queries: c.Metrics.Queries}
	}
	whole, err := parity.ConfigurationOf(c)
	if err == nil {
		err = whole.Check()
	}
	if err == nil {
		out.Content, err = json.Marshal(whole.Content)
	}
	return out, err
}

func (r *run) lookAt(ctx context.Context, wanted hubclient.Configuration) (state, error) {
	now, err := r.hub.Configuration(ctx, wanted.ID)
	if fault.KindOf(err) == fault.NotFound {
		return state{change: func(ctx context.Context) error {
			_, err := r.hub.CreateConfiguration(ctx, wanted)
			return err
		}}, nil
	}
	if err != nil {
		return state{}, err
	}
	queries := func(c hubclient.Configuration) map[string]string {
		if c.Metrics == nil {
			return nil
		}
		return c.Metrics.Queries
	}
	content := sameJSON(now.Content, wanted.Content)
	same := content && now.Target == wanted.Target && now.Priority == wanted.Priority && sameJSON(now.Labels, wanted.Labels) && sameJSON(queries(now), queries(wanted))
	return state{there: true, same: same, change: func(ctx context.Context) error {
		if !content {
			return fault.Newf("migration.configuration", fault.Conflict, "configuration %q is there with another content, which cannot change", wanted.ID).
				Advise("delete it, or give the other one another id")
		}
		_, err := r.hub.UpdateConfiguration(ctx, wanted, hubclient.Any)
		return err
	}}, nil
}
